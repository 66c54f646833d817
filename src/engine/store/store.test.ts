// Models whose experts come from files, against the same models with all of them in memory.
import { copyFileSync, mkdtempSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { writeFloat8Folder, writeMxfp4Folder } from '../../../tests/support/block-folders.ts'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import { fixture, quantized, widened } from '../../../tests/support/tiered-files.ts'
import {
  type CausalLM,
  Generation,
  memoryNeeds,
  openModel,
  openSource,
  writeModelFolder,
} from '../../models/index.ts'
import type { KvType } from '../../nn/index.ts'
import { policyNames } from '../cache/table.ts'
import { recordRouting } from '../trace/record.ts'
import { loadTiered, type StoreSettings, TieredModel } from './open.ts'
import { planTiered } from './outlook.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-store-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const prompts = [
  [5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
  [20, 21, 22],
]

/** Greedy texts, with the tokens of several prompts in step. */
function write(model: CausalLM, newTokens = 24): number[][] {
  using generation = new Generation(model, prompts, { temperature: 0, maxNewTokens: newTokens, stopIds: [] })
  const texts: number[][] = prompts.map(() => [])
  while (!generation.isOver) for (const { text, id } of generation.step()) texts[text]?.push(id)
  return texts
}

/** Log-probabilities of what is written: a text hides small differences. */
function bits(model: CausalLM): unknown {
  using generation = new Generation(model, [prompts[0] as number[]], {
    temperature: 0,
    stopIds: [],
    logprobs: 5,
  })
  return Array.from({ length: 6 }, () => generation.step().map(token => token.probabilities))
}

function withExperts<T>(
  path: string,
  bytes: number,
  use: (tiered: TieredModel) => T,
  settings: StoreSettings = {},
): T {
  using tiered = new TieredModel(openSource(path))
  tiered.keepExperts(bytes, settings)
  return use(tiered)
}

const all = Number.MAX_SAFE_INTEGER

const architectures = [
  ...['mixtral', 'qwen2_moe', 'qwen3_moe', 'olmoe', 'granitemoe', 'phimoe'],
  ...['deepseek_v2', 'deepseek_v3', 'glm4_moe'],
]

/** Writes the same at any share of its experts as with all of them. */
function expectSameAtAnyBudget(path: string): void {
  expectNoLeak(() => {
    const wanted = withExperts(path, all, ({ model, store }) => {
      expect(store.capacity).toBe(store.total)
      return { texts: write(model), scores: bits(model), bytes: store.bytes }
    })
    using whole = openSourceStored(path)
    expect(write(whole)).toEqual(wanted.texts)
    expect(bits(whole)).toEqual(wanted.scores)
    for (const share of [0, 0.3, 0.6]) {
      withExperts(path, share * wanted.bytes, ({ model, store }) => {
        expect(store.capacity).toBeLessThan(store.total)
        expect(write(model)).toEqual(wanted.texts)
        expect(bits(model)).toEqual(wanted.scores)
        expect(store.counts.hits).toBeLessThan(store.counts.uses)
      })
    }
  })
}

describe.each(architectures)('%s', name => {
  test.each(['f32', 'bf16'] as const)('writes the same from %s files, however few experts fit', dtype => {
    const folder = join(scratch, `${name}-${dtype}`)
    writeModelFolder(folder, openSource(fixture(name)), { dtype })
    expectSameAtAnyBudget(folder)
  })
})

const wide = (name: string): string => widened(name, scratch)
const inBlocks = (name: string, type: string): string => quantized(name, type, scratch)

describe.each([
  ['mixtral', 'q8_0'],
  ['mixtral', 'q4_k'],
  ['qwen3_moe', 'q4_0'],
  ['olmoe', 'mxfp4'],
  ['deepseek_v3', 'q6_k'],
  ['gpt_oss', 'mxfp4'],
])('%s in blocks of %s', (name, type) => {
  const file = inBlocks(name, type)
  const stored = (): { texts: number[][]; bytes: number } =>
    withExperts(file, all, tiered => ({ texts: write(tiered.model), bytes: tiered.store.bytes }))

  test('writes what it writes with all weights in memory', () => {
    const { texts, bytes } = stored()
    using model = openSourceStored(file)
    expect(write(model)).toEqual(texts)
    withExperts(file, bytes / 3, tiered => expect(write(tiered.model)).toEqual(texts))
  })

  test.each(policyNames.filter(kind => kind !== 'static'))('whatever the policy: %s', kind => {
    const { texts, bytes } = stored()
    const settings = { policy: { kind, ...(kind === 'random' && { seed: 1 }) } } as StoreSettings
    withExperts(file, bytes / 2, ({ model }) => expect(write(model)).toEqual(texts), settings)
  })

  test('whether or not the page cache is used', () => {
    const { texts, bytes } = stored()
    withExperts(file, bytes / 3, ({ model }) => expect(write(model)).toEqual(texts), { read: 'direct' })
  })
})

test.each([
  ['gpt_oss', 'MXFP4', writeMxfp4Folder],
  ['deepseek_v3', 'FP8', writeFloat8Folder],
] as const)(
  '%s in %s, whose scales lie apart, writes the same however few experts fit',
  (name, type, writeFolder) => {
    const folder = join(scratch, `${name}-${type}`)
    writeFolder(wide(name), folder)
    expectSameAtAnyBudget(folder)
    // And as with all weights in memory, as they are.
    using model = openSourceStored(folder)
    withExperts(folder, 0, tiered => expect(write(tiered.model)).toEqual(write(model)))
  },
)

describe('what goes wrong', () => {
  const original = inBlocks('mixtral', 'q8_0')
  const copy = (name: string): string => {
    const file = join(scratch, name)
    copyFileSync(original, file)
    return file
  }

  test('a file that is truncated while a model runs from it ends the text, not the model', () => {
    const file = copy('truncated.gguf')
    withExperts(file, 0, ({ model, store }) => {
      const wanted = write(model, 4)
      truncateSync(file, 5000)
      // Every time: what could not be read is not taken for resident.
      for (let i = 0; i < 8; i++)
        expect(() => write(model, 4)).toThrow(/truncated\.gguf: was changed while the model runs from it/)
      copyFileSync(original, file) // the same bytes, but who knows
      expect(() => write(model, 4)).toThrow(/was changed/)
      expect(wanted.length).toBe(2)
      expect(store.counts.uses).toBeGreaterThan(0)
    })
  })

  test('a read that comes up short says where', () => {
    const file = copy('short.gguf')
    // Changed before its experts are opened: the header was checked, its data is not there any more.
    using tiered = new TieredModel(openSource(file))
    truncateSync(file, 5000)
    tiered.keepExperts(0)
    expect(() => write(tiered.model, 4)).toThrow(
      /short\.gguf: an expert cannot be read: the file ends at \d+, before the \d+ bytes at \d+$/,
    )
  })

  test('a budget below what works says the least that does', () => {
    expect(() => loadTiered(openSource(original), { memory: 1e6, context: 100 })).toThrow(
      /memory: 1 MB are too little: \d+ MB are taken without experts, .* the least that works is \d+ MB/,
    )
  })

  test('experts whose inputs come first have nothing to read one by one', () => {
    expect(() => new TieredModel(openSource(fixture('gpt_oss')))).toThrow(
      /no decoder with experts that can be read/,
    )
  })
})

test('a recording of routing knows the bytes of experts in panels', async () => {
  using model = openSourceStored(inBlocks('mixtral', 'q8_0'))
  const { expertBytes } = await recordRouting(model, [prompts], { file: join(scratch, 'a.trace'), name: 'a' })
  const rowBytes = (256 / 32) * 34
  expect(expertBytes).toBe((2 * 256 + 256) * rowBytes) // gate and up, and down
})

test('a plan adds up to its budget', () => {
  const memory = 2 * process.memoryUsage.rss() + 200e6
  const { tiered, plan } = loadTiered(openSource(inBlocks('olmoe', 'q8_0')), { memory, context: 100 })
  using _ = tiered
  const { fixed, cache, working, experts, allExperts } = plan
  expect(fixed + cache + working + experts).toBeLessThanOrEqual(memory)
  expect(experts).toBe(allExperts) // so small a model fits
  expect(tiered.store.capacity).toBe(tiered.store.total)
})

test('a plan leaves room for keys and values as they will be kept', () => {
  const source = openSource(inBlocks('olmoe', 'q8_0'))
  const cacheOf = (kv?: KvType): number => planTiered(source, { memory: 1e9, context: 100, kv }).plan.cache
  for (const kv of ['f32', 'f16', 'q8_0'] as const)
    expect(cacheOf(kv)).toBe(100 * memoryNeeds(source.config, 'f32', kv).cachePerToken)
  expect(cacheOf()).toBe(cacheOf('f32'))
  expect(cacheOf('f16')).toBe(cacheOf('f32') / 2)
  const { tiered, plan } = loadTiered(source, { memory: 1e9, context: 100, kv: 'q8_0' })
  using _ = tiered
  expect(plan.cache).toBe(cacheOf('q8_0'))
})

function openSourceStored(file: string): CausalLM {
  return openModel(file).load({ kind: 'decoder', weights: 'stored' })
}
