// Reading a prompt with a cache, and greedy decoding after it, for benchmarks/generate.ts.
//   usage: generate.ts SIZES_JSON prefill|decode PROMPT [TYPE: from a GGUF file of such blocks]

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type CausalLM,
  Generation,
  noTokenizer,
  openModel,
  openSource,
  parseTypeRules,
  saveModel,
  writeGgufModel,
} from '../../src/models/index.ts'
import { serve } from '../support/contestant.ts'
import { configOf, makeModel, type Sizes } from './mixtral.ts'

const sizes = JSON.parse(process.argv[2] ?? '{}') as Sizes
const isPrefill = process.argv[3] === 'prefill'
const prompt = Array.from({ length: Number(process.argv[4]) }, (_, i) => (13 * i) % sizes.vocab)
const type = process.argv[5]
const model = type === undefined ? makeModel(sizes).eval() : stored(type)
const options = { temperature: 0, stopIds: [] }

/** The same weights in blocks, mapped from a file that is gone from the folder when the process ends. */
function stored(blocks: string): CausalLM {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-generate-'))
  try {
    const made = makeModel(sizes)
    saveModel(folder, made, configOf(sizes))
    made.dispose()
    const file = join(folder, 'model.gguf')
    const rules = parseTypeRules(blocks, 'types')
    writeGgufModel(openSource(folder), file, { rules, name: 'benchmark', tokenizer: noTokenizer })
    return openModel(file).load({ kind: 'decoder', weights: 'stored' })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A generation that has read the prompt, and so written a token. */
function started(): Generation {
  const generation = new Generation(model, [prompt], options)
  generation.step()
  return generation
}

let generation = isPrefill ? null : started()

await serve(count => {
  if (isPrefill) for (let i = 0; i < count; i++) started()[Symbol.dispose]()
  for (let i = 0; generation && i < count; i++) {
    if (generation.isOver) {
      generation[Symbol.dispose]()
      generation = started()
    }
    generation.step()
  }
  return {}
})
