// Steps of decoding that are played from a tape, against the model computing them.
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { ContiguousCache, type KvType } from '../../nn/index.ts'
import { inferenceMode, type Tensor, tidy } from '../../torch/index.ts'
import { type CausalLM, createModel, openModel, parseModelConfig, tokensOfSequences } from '../index.ts'
import { DecodingStep } from './decoding-step.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))

const prompts = [
  [5, 6, 7, 8, 9],
  [20, 21],
]

/** What both ways give for tokens after the prompts, and which steps were played. */
function bothWays(model: CausalLM, tokens: readonly (readonly number[])[], kv?: KvType) {
  const options = { sequences: prompts.length, capacity: 20, kv }
  using played = new ContiguousCache(model, options)
  using computed = new ContiguousCache(model, options)
  using step = new DecodingStep(model, played)
  const read = (rows: readonly (readonly number[])[], cache: ContiguousCache): Tensor =>
    model.forward(tokensOfSequences(rows, { past: cache.lengths }), { cache, logitsAt: 'last' }).logits
  return inferenceMode(() => {
    for (const cache of [played, computed]) read(prompts, cache).dispose()
    return tokens.map(ids =>
      tidy(() => {
        const isPlayed = step.isPlayed
        const { logits } = step.run(ids)
        expectClose(
          logits,
          read(
            ids.map(id => [id]),
            computed,
          ),
          0,
        )
        return isPlayed
      }),
    )
  })
}

const tokens = [
  [1, 2],
  [3, 4],
  [5, 6],
  [7, 8],
  [9, 10],
]

const architectures = [
  ...['mixtral', 'qwen2_moe', 'qwen3_moe', 'olmoe', 'gpt_oss', 'granitemoe', 'phimoe'],
  ...['deepseek_v2', 'deepseek_v3', 'glm4_moe'],
]

describe.each(architectures)('%s', name => {
  test.each([undefined, 'q8_0'] as const)('gives the same to the bit, with keys and values in %s', kv => {
    using model = openModel(fixture(name)).load({ kind: 'decoder' })
    expectNoLeak(() => {
      const isPlayed = bothWays(model, tokens, kv)
      expect(isPlayed.slice(0, 2)).toEqual([false, false])
      expect(new Set(isPlayed.slice(2)).size).toBe(1)
      // Experts with biases have no kernel in f32: the host goes from one to the next.
      expect(isPlayed.at(-1)).toBe(name !== 'gpt_oss')
    })
  })
})

test('where angles follow from the length of the text every step is computed', () => {
  const config = {
    ...{
      model_type: 'mixtral',
      vocab_size: 60,
      hidden_size: 16,
      intermediate_size: 16,
      num_hidden_layers: 2,
    },
    ...{ num_attention_heads: 2, num_key_value_heads: 1, num_local_experts: 4, max_position_embeddings: 6 },
    rope_scaling: { rope_type: 'dynamic', factor: 2 },
  }
  using model = createModel(parseModelConfig(config, 'test')) as CausalLM
  expect(bothWays(model.eval(), tokens)).toEqual([false, false, false, false, false])
})

test('plays on after the cache was used for other tokens, and for some of the texts alone', () => {
  using model = openModel(fixture('mixtral')).load({ kind: 'decoder' })
  const read = (rows: readonly (readonly number[])[], cache: ContiguousCache): Tensor =>
    model.forward(tokensOfSequences(rows, { past: cache.lengths }), { cache, logitsAt: 'all' }).logits
  using played = new ContiguousCache(model, { sequences: 3, capacity: 30 })
  using computed = new ContiguousCache(model, { sequences: 3, capacity: 30 })
  using step = new DecodingStep(model, played, { texts: [0, 2] })
  inferenceMode(() =>
    tidy(() => {
      for (const cache of [played, computed]) read([[5, 6, 7], [8], [9, 10]], cache)
      for (let i = 0; i < 5; i++) {
        expectClose(step.run([i, i + 1]).logits, read([[i], [], [i + 1]], computed), 0)
        for (const cache of [played, computed]) read([[], [20 + i, 30], []], cache)
      }
    }),
  )
  expect(step.isPlayed).toBe(true)
})
