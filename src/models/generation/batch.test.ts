// Several texts at a time, and what can be asked for beside their tokens.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import { byteTokenizer } from '../../data/index.ts'
import { manualSeed, noGrad, withKernels } from '../../torch/index.ts'
import {
  type CausalLM,
  createModel,
  type GenerateOptions,
  Generation,
  generate,
  generateBatch,
  generateTexts,
  openModel,
  parseModelConfig,
  type Rows,
  type TextModel,
} from '../index.ts'
import { decoderSession } from './decoder-session.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))

const prompts = [
  [5, 6, 7, 8, 9, 10],
  [11, 12],
  [20, 21, 22, 23],
]

async function batch(model: TextModel, rows: Rows, options: GenerateOptions): Promise<number[][]> {
  const written: number[][] = rows.map(() => [])
  for await (const { text, id } of generateBatch(model, rows, options)) written[text]?.push(id)
  return written
}

async function single(
  model: TextModel,
  prompt: readonly number[],
  options: GenerateOptions,
): Promise<number[]> {
  const written: number[] = []
  for await (const id of generate(model, prompt, options)) written.push(id)
  return written
}

describe.each(['mixtral', 'deepseek_v3', 'gpt_oss', 'phimoe', 'switch_transformers', 'nllb_moe'])(
  '%s',
  name => {
    const options = { temperature: 0, maxNewTokens: 12, stopIds: [] }

    test('a batch of unequal prompts gives each what it gets alone', async () => {
      const model = openModel(fixture(name)).load({ kind: 'text' })
      const alone = await Promise.all(prompts.map(prompt => single(model, prompt, options)))
      expect(await batch(model, prompts, options)).toEqual(alone)
      model.dispose()
    })

    test('a text that ends early leaves the others as they are', async () => {
      const model = openModel(fixture(name)).load({ kind: 'text' })
      const [first = [], ...others] = await batch(model, prompts, options)
      const stopped = await batch(model, prompts, { ...options, stopIds: [first[4] ?? 0] })
      expect(stopped[0]).toEqual(first.slice(0, first.indexOf(first[4] ?? 0)))
      for (const [i, other] of others.entries()) {
        const end = other.indexOf(first[4] ?? 0)
        expect(stopped[i + 1]).toEqual(end < 0 ? other : other.slice(0, end))
      }
      model.dispose()
    })
  },
)

test.each(['mixtral', 'deepseek_v3', 'gpt_oss', 'phimoe'])(
  '%s: prompts that are read in parts are those read at once',
  name => {
    using model = openModel(fixture(name)).load({ kind: 'decoder' })
    const uneven = [...prompts, [30]]
    const scores = (chunk: number): number[] => {
      using session = decoderSession(model, { prompts: uneven, newTokens: 1, chunk })
      return session.next(uneven).flatMap(of => [...of])
    }
    const whole = scores(100)
    // Sums in f32 of numbers of order one in another order.
    for (const inParts of [scores(2), withKernels([], () => scores(2))])
      for (const [i, score] of inParts.entries())
        expect(Math.abs(score - (whole[i] ?? 0))).toBeLessThan(1e-5 * (1 + Math.abs(score)))
  },
)

function small(): CausalLM {
  const config = parseModelConfig(
    {
      ...(JSON.parse(readFileSync(`${fixture('mixtral')}/config.json`, 'utf8')) as object),
      vocab_size: byteTokenizer().vocabSize,
    },
    'small',
  )
  manualSeed(4)
  const model = createModel(config).eval() as CausalLM
  noGrad(() => {
    for (const parameter of model.parameters()) if (parameter.ndim > 1) parameter.mul_(5)
  })
  return model
}

test('samples of one prompt differ, and repeat with the seed', async () => {
  using model = small()
  const rows = [prompts[0] ?? [], prompts[0] ?? [], prompts[0] ?? []]
  const options = { temperature: 2, maxNewTokens: 8, stopIds: [], seed: 7 }
  const samples = await batch(model, rows, options)
  expect(new Set(samples.map(sample => sample.join())).size).toBe(3)
  expect(await batch(model, rows, options)).toEqual(samples)
  expect(samples[0]).toEqual(await single(model, rows[0] ?? [], options))
})

test('a bias of 100 forces a token, -100 excludes it', async () => {
  using model = small()
  const options = { temperature: 0, maxNewTokens: 4, stopIds: [] }
  expect(await single(model, [5], { ...options, logitBias: { 33: 100 } })).toEqual([33, 33, 33, 33])
  const usual = await single(model, [5], options)
  const other = await single(model, [5], { ...options, logitBias: { [usual[0] ?? 0]: -100 } })
  expect(other[0]).not.toBe(usual[0])
})

test('penalties on what was written end a repetition; the prompt does not count for them', async () => {
  using model = small()
  const options = { temperature: 0, maxNewTokens: 4, stopIds: [], logitBias: { 33: 40, 34: 39 } }
  expect(await single(model, [33, 34], options)).toEqual([33, 33, 33, 33])
  // 33 leads 34 by about 1, whatever the model adds: a penalty of 20 turns that over each time.
  const frequency = await single(model, [33, 34], { ...options, frequencyPenalty: 20 })
  expect(frequency.slice(0, 2).sort()).toEqual([33, 34])
  const presence = await single(model, [33, 34], { ...options, presencePenalty: 20 })
  expect(presence.slice(0, 2).sort()).toEqual([33, 34])
})

test('log-probabilities are those of the model, before temperature and filters', async () => {
  using model = small()
  using generation = new Generation(model, [[5, 6]], { temperature: 0, topK: 1, logprobs: 259, stopIds: [] })
  const [token] = generation.step()
  const { logprob = 0, top = [] } = token?.probabilities ?? {}
  expect(top.length).toBe(259)
  expect(top[0]).toEqual({ id: token?.id, logprob })
  expect(top.reduce((sum, one) => sum + Math.exp(one.logprob), 0)).toBeCloseTo(1, 5)
  expect(top.map(one => one.logprob)).toEqual(top.map(one => one.logprob).sort((a, b) => b - a))
})

test('texts are told apart, and each ends at its own stop text', async () => {
  using model = small()
  const tokenizer = byteTokenizer()
  const a = 'a'.charCodeAt(0) + 3 // after the special tokens
  const options = { temperature: 0, maxNewTokens: 5, stopIds: [], logitBias: { [a]: 100 } }
  const texts = ['', '']
  const pieces = generateTexts(model, tokenizer, ['x', 'long prompt'], { ...options, stop: ['aaa'] })
  let next = await pieces.next()
  for (; !next.done; next = await pieces.next()) texts[next.value.text] += next.value.piece
  expect(texts).toEqual(['', ''])
  expect(next.value.map(end => end.reason)).toEqual(['stop-text', 'stop-text'])
})

test('nothing is left behind', () =>
  expectNoLeak(() => {
    using model = small()
    using generation = new Generation(model, prompts, { maxNewTokens: 4 })
    while (!generation.isOver) generation.step()
  }))

test.each([
  [[[]], {}, 'prompt: is empty'],
  [[[5], [999]], {}, 'prompt: id 999 is outside'],
  [[], {}, 'prompts: there is none'],
  [[[5]], { logitBias: { 999: 1 } }, 'logitBias: must be for ids in 0..258, got 999'],
  [[[5]], { presencePenalty: Number.NaN }, 'presencePenalty: must be a number, got NaN'],
])('%j with %j is refused', (rows, options, message) => {
  using model = small()
  expect(() => new Generation(model, rows, options)).toThrow(message)
})
