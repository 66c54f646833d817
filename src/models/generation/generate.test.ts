import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { byteTokenizer, loadTokenizer } from '../../data/index.ts'
import { byteLevelTokenizerJson } from '../../data/tokenizer-bytes.ts'
import { memoryUse, noGrad } from '../../torch/index.ts'
import { mixtral } from '../architectures/mixtral.ts'
import {
  CausalLM,
  createModel,
  type ForwardOptions,
  generate,
  type MixtralConfig,
  parseModelConfig,
  standardBuild,
  type Tokens,
} from '../index.ts'
import { completeParts } from '../stack/parts.ts'
import { type GenerateTextOptions, type GenerationEnd, generateText } from './text.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const tokenizer = byteTokenizer()
const config = parseModelConfig(
  {
    model_type: 'mixtral',
    vocab_size: tokenizer.vocabSize,
    hidden_size: 8,
    intermediate_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    num_local_experts: 2,
    max_position_embeddings: 24,
    eos_token_id: [11, 12],
  },
  'counting',
) as MixtralConfig

/** Whatever came last, the next id is one more. */
class CountingModel extends CausalLM {
  readonly seen: number[][] = []

  constructor() {
    const build = standardBuild()
    super(config, completeParts(config, build, mixtral.parts(config, build)))
  }

  override forward(tokens: Tokens, options: ForwardOptions = {}): ReturnType<CausalLM['forward']> {
    const output = super.forward(tokens, options) // fills the cache
    this.seen.push([...tokens.ids.toTypedArray<'i64'>()].map(Number))
    noGrad(() => {
      const last = tokens.ids.narrow(0, tokens.ids.size(0) - 1, 1)
      output.logits.zero_().scatter_(1, last.add(1).unsqueeze(0), 10)
    })
    return output
  }
}

async function collect(model: CausalLM, prompt: number[], options = {}): Promise<number[]> {
  const ids: number[] = []
  for await (const id of generate(model, prompt, { temperature: 0, ...options })) ids.push(id)
  return ids
}

test('the prompt goes in at once, then one id after the other', async () => {
  using model = new CountingModel()
  expect(await collect(model, [3, 4], { maxNewTokens: 3 })).toEqual([5, 6, 7])
  expect(model.seen).toEqual([[3, 4], [5], [6]])
})

test('any of the ids that end a text ends it, and is not given out', async () => {
  using model = new CountingModel()
  expect(await collect(model, [9])).toEqual([10]) // 11 ends
  expect(await collect(model, [11])).toEqual([]) // 12 ends
  expect(await collect(model, [9], { stopIds: [13] })).toEqual([10, 11, 12])
})

test('a text tells how it ended', async () => {
  using model = new CountingModel()
  const [a, b] = await tokenizer.encode('ab')
  const end = async (options: GenerateTextOptions): Promise<GenerationEnd> => {
    const pieces = generateText(model, tokenizer, 'a', { temperature: 0, ...options })
    for (;;) {
      const { done, value } = await pieces.next()
      if (done) return value
    }
  }
  expect(b).toBe(a! + 1) // so that the model goes on through the alphabet
  expect(await end({ maxNewTokens: 2 })).toMatchObject({ tokens: 2, reason: 'max-new-tokens' })
  expect(await end({ maxNewTokens: 500 })).toMatchObject({ tokens: 23, reason: 'positions' })
  expect(await end({ stop: ['c'] })).toMatchObject({ tokens: 2, reason: 'stop-text' })
  expect(await end({ stopIds: [b! + 1] })).toMatchObject({ tokens: 1, reason: 'end-of-text' })
  expect(await end({ signal: AbortSignal.abort() })).toMatchObject({ tokens: 0, reason: 'aborted' })
})

test("the model's positions bound the text", async () => {
  using model = new CountingModel()
  expect((await collect(model, [20], { maxNewTokens: 1000 })).length).toBe(23)
})

test.each([
  [[], 'prompt: is empty: give at least one token'],
  [[259], "prompt: id 259 is outside of the model's vocabulary of 259"],
  [[-1], 'prompt: id -1 is outside'],
  [new Array(24).fill(1), "prompt: has 24 tokens; the model's 24 positions leave no room to continue"],
])('a prompt of %o is refused', async (prompt, message) => {
  using model = new CountingModel()
  await expect(collect(model, prompt)).rejects.toThrow(message)
})

test('an abort ends it between two tokens; nothing is left behind', async () => {
  using model = new CountingModel()
  const before = memoryUse().tensors
  const controller = new AbortController()
  const ids: number[] = []
  for await (const id of generate(model, [20], { temperature: 0, signal: controller.signal })) {
    ids.push(id)
    if (ids.length === 2) controller.abort()
  }
  expect(ids).toEqual([21, 22])
  expect(memoryUse().tensors).toBe(before)
})

describe('what the model is given first', () => {
  /** The prompt's ids under a tokenizer.json with this post-processor. */
  async function firstIds(prompt: string, post_processor: unknown): Promise<number[] | undefined> {
    const file = join(scratch, 'tokenizer.json')
    writeFileSync(file, JSON.stringify({ ...JSON.parse(byteLevelTokenizerJson()), post_processor }))
    using model = new CountingModel()
    for await (const _ of generateText(model, loadTokenizer(file), prompt, { maxNewTokens: 1 }));
    return model.seen[0]
  }
  const special = { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } }
  const begin = { SpecialToken: { id: '<s>', type_id: 0 } }
  const text = (id: string): unknown => ({ Sequence: { id, type_id: 0 } })
  const beginsText = {
    type: 'TemplateProcessing',
    single: [begin, text('A')],
    pair: [begin, text('A'), text('B')],
    special_tokens: special,
  }

  test('the tokens that the tokenizer puts before a text, then the text', async () => {
    const [a] = await tokenizer.encode('a')
    expect(await firstIds('a', null)).toEqual([a])
    expect(await firstIds('a', beginsText)).toEqual([1, a])
  })

  test('without a text, what stood before texts in training', async () => {
    expect(await firstIds('', beginsText)).toEqual([1])
    expect(await firstIds('', null)).toEqual([tokenizer.specialIds.eos])
  })
})

test('the same seed gives the same tokens, another seed others', async () => {
  using model = createModel(config)
  const options = { temperature: 1, maxNewTokens: 20, stopIds: [] }
  const first = await collect(model, [1, 5], { ...options, seed: 1 })
  expect(await collect(model, [1, 5], { ...options, seed: 1 })).toEqual(first)
  expect(await collect(model, [1, 5], { ...options, seed: 2 })).not.toEqual(first)
})
