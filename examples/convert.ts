// A model folder to GGUF in q8_0 and back: the type of each kind of tensor, and what stayed equal.
//   run: npx tsx examples/convert.ts [MODEL] [--type q8_0,experts=q4_0]

import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  copyTokenizer,
  generateText,
  noGrad,
  type OpenedModel,
  openModel,
  parseTypeRules,
  tidy,
  tokenizerMetadata,
  writeGgufModel,
} from 'switchyard'
import { matchTensors, writeModelFolder } from 'switchyard/models'
import { reciter } from './support/reciter.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { type: { type: 'string', default: 'q8_0' } },
})
const original = openModel(positionals[0] ?? (await reciter()))
const work = mkdtempSync(join(tmpdir(), 'switchyard-'))

const file = join(work, 'model.gguf')
const written = writeGgufModel(original.source, file, {
  rules: parseTypeRules(values.type, '--type'), // routers stay f32 unless they are named
  name: 'example',
  tokenizer: tokenizerMetadata(original.path, original.config.vocab_size),
})
console.log(`${file}: ${written.bytes} bytes, ${written.tensors} tensors`)

// What each tensor is for follows from the parameter that it is a part of.
const gguf = openModel(file)
const types = new Map<string, number>()
for (const { parameter, stored } of matchTensors(gguf.source)) {
  const key = `${gguf.source.declarations.get(parameter)?.role} as ${stored.encoding}`
  types.set(key, (types.get(key) ?? 0) + 1)
}
for (const [key, count] of [...types].sort()) console.log(`  ${key}: ${count}`)

// Back: quantized tensors become f32 here, and bf16 unless a dtype is named.
const folder = join(work, 'back')
writeModelFolder(folder, gguf.source, { dtype: 'f32' })
copyTokenizer(file, folder)
const back = openModel(folder)

using before = original.load()
using after = back.load()
const differences = noGrad(() =>
  tidy(() => {
    const others = after.namedParameters()
    return [...before.namedParameters()].map(([name, parameter]) => {
      const difference = parameter
        .sub(others.get(name) ?? 0)
        .abs()
        .max()
        .item()
      return { role: parameter.declaration.role, share: difference / parameter.abs().max().item() }
    })
  }),
)
const equal = differences.filter(({ share }) => share === 0)
console.log(
  `${equal.length} of ${differences.length} parameters are equal: ${[...new Set(equal.map(({ role }) => role))]}`,
)
const largest = Math.max(...differences.map(({ share }) => share))
console.log(`the largest difference is ${(100 * largest).toFixed(2)}% of its parameter's largest value`)

async function write(model: OpenedModel): Promise<string> {
  let text = ''
  const options = { temperature: 0, maxNewTokens: 80 }
  for await (const piece of generateText(model.load({ kind: 'text' }), model.tokenizer, 'A ', options))
    text += piece
  return text
}
const [first, second] = [await write(original), await write(back)]
console.log(first === second ? `both write: ${second}` : `they write:\n  ${first}\n  ${second}`)
