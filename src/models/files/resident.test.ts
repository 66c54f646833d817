// What a loaded model takes, against its file: nothing but what docs/running.md names is wider in memory.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { writeFloat8Folder, writeMxfp4Folder } from '../../../tests/support/block-folders.ts'
import { widened } from '../../../tests/support/tiered-files.ts'
import { Buffer, type Declaration, Parameter } from '../../nn/index.ts'
import { itemSize, memoryUse, rowsOfPanels, type Tensor, tidy } from '../../torch/index.ts'
import {
  type AnyModel,
  noTokenizer,
  openModel,
  openSource,
  parseTypeRules,
  writeGgufModel,
  writeModelFolder,
} from '../index.ts'
import { byParameter, matchTensors } from './matching.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'switchyard-resident-'))
afterAll(() => rmSync(scratch, { recursive: true }))

/** Bytes of a tensor's numbers or rows, as they lie in memory. */
const bytesIn = (tensor: Tensor): number =>
  tidy(() => {
    const raw = tensor.detach()
    return raw.numel * itemSize[raw.dtype]
  })

/** What is f32 in memory, whatever the file has: docs/running.md names the same. */
const isWidened = (path: string, { role, shape, stacked }: Declaration): boolean =>
  role === 'norm' ||
  role === 'router' ||
  shape.length < (stacked ? 3 : 2) || // biases, sinks
  /kv_b_proj|relative_attention_bias/.test(path)

/** Bytes that a parameter's pieces have in files. */
function bytesInFiles(pieces: ReturnType<typeof matchTensors>): number {
  const stored = new Map(pieces.map(piece => [piece.stored.name, piece.stored]))
  return [...stored.values()].flatMap(tensor => tensor.ranges()).reduce((sum, { length }) => sum + length, 0)
}

/** Loads a model, and what each of its tensors takes where and in the file. */
function measure(path: string): { model: AnyModel; own: number; tensors: Measured[] } {
  const pieces = byParameter(matchTensors(openSource(path)))
  const before = memoryUse().bytes
  const model = openModel(path).load({ weights: 'stored' })
  const own = memoryUse().bytes - before
  const tensors = [...model.stateDict()].map(([name, tensor]): Measured => {
    const inFiles = bytesInFiles(pieces.get(name) ?? [])
    return { name, tensor, inFiles, inMemory: bytesIn(tensor) }
  })
  return { model, own, tensors }
}

interface Measured {
  name: string
  tensor: Parameter | Buffer
  inFiles: number
  inMemory: number
}

/** What an encoding takes for the bytes that a file has: rows in panels are whole sixteens, FP8 has a scale in each row. */
function bytesEncoded({ tensor, inFiles }: Measured): number {
  const encoding = tensor instanceof Parameter ? tensor.encoding : null
  const [rows = 1, columns = 1] = tensor.shape.slice(-2)
  if (encoding === 'F8_E4M3_B128') return (tensor.numel / columns) * (columns / 128) * 132
  const isInPanels = encoding !== null && rowsOfPanels(encoding) !== encoding
  return isInPanels ? (inFiles / rows) * 16 * Math.ceil(rows / 16) : inFiles
}

function expectFileSize(path: string): void {
  const { model, own, tensors } = measure(path)
  try {
    for (const each of tensors) {
      const { name, tensor, inFiles, inMemory } = each
      const isWide = isWidened(name, tensor.declaration) || tensor instanceof Buffer
      expect([name, inMemory]).toEqual([
        name,
        isWide ? Math.max(inFiles, 4 * tensor.numel) : bytesEncoded(each),
      ])
    }
    // Nothing else is kept: not the bytes that rows were made from, nor what was decoded on the way.
    const sum = (of: (each: Measured) => number): number => tensors.reduce((all, each) => all + of(each), 0)
    const buffers = [...model.namedBuffers().values()].reduce((all, buffer) => all + bytesIn(buffer), 0)
    const aligned = 128 * (tensors.length + model.namedBuffers().size)
    // Blocks are at whole cache lines, and from 256 kB on rounded up by an eighth at most.
    expect(own).toBeLessThanOrEqual((9 / 8) * (sum(each => each.inMemory) + buffers) + aligned)
    const widened = sum(each => (isWidened(each.name, each.tensor.declaration) ? each.inMemory : 0))
    expect(sum(each => each.inMemory)).toBeLessThanOrEqual(sum(each => each.inFiles) * (132 / 128) + widened)
  } finally {
    model.dispose()
  }
}

const architectures = [
  ...['mixtral', 'qwen2_moe', 'qwen3_moe', 'olmoe', 'gpt_oss', 'granitemoe', 'phimoe'],
  ...['deepseek_v2', 'deepseek_v3', 'glm4_moe', 'switch_transformers', 'nllb_moe'],
]

describe.each(architectures)('%s takes the bytes of its file', name => {
  test.each(['f32', 'bf16'] as const)('in %s', dtype => {
    const folder = join(scratch, `${name}-${dtype}`)
    writeModelFolder(folder, openSource(fixture(name)), { dtype })
    expectFileSize(folder)
  })
})

const inGguf = ['mixtral', 'qwen3_moe', 'olmoe', 'deepseek_v2', 'deepseek_v3', 'gpt_oss']

test.each(inGguf)('%s takes the bytes of its file in Q8_0', name => {
  const file = join(scratch, `${name}.gguf`)
  const rules = parseTypeRules('q8_0', 'types')
  const folder = name === 'qwen3_moe' ? widened(name, scratch) : fixture(name) // whose fixture has a dense layer
  writeGgufModel(openSource(folder), file, { rules, name, tokenizer: noTokenizer })
  expectFileSize(file)
})

test.each([
  ['gpt_oss', writeMxfp4Folder],
  ['deepseek_v3', writeFloat8Folder],
] as const)('%s takes the bytes of its file with scales apart', (name, write) => {
  const folder = join(scratch, `${name}-apart`)
  write(widened(name, scratch), folder)
  expectFileSize(folder)
})
