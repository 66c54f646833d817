import { describe, expect, test } from 'vitest'
import { runEncoderTests } from '../../../tests/support/model-runner.ts'
import { routingStats } from '../../moe/index.ts'
import { randint } from '../../torch/index.ts'
import {
  createModel,
  flopsPerToken,
  memoryNeeds,
  parseAnyConfig,
  parseModelConfig,
  type SwitchyardMoeEncoderConfig,
  tokensOf,
} from '../index.ts'
import { requireDecoder } from './table.ts'

const fields = {
  model_type: 'switchyard_moe_encoder',
  vocab_size: 50,
  mask_token_id: 49,
  hidden_size: 16,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_local_experts: 4,
  max_position_embeddings: 32,
}
const configOf = (router: unknown, more: object = {}): SwitchyardMoeEncoderConfig =>
  parseModelConfig({ ...fields, router, ...more }, 'test') as SwitchyardMoeEncoderConfig

describe('an encoder with top-k in one layer, and a shared expert', () =>
  runEncoderTests(configOf({ kind: 'top-k' }, { moe_layers: [1], shared_intermediate_size: 6 })))

describe('with experts that choose', () =>
  runEncoderTests(configOf({ kind: 'expert-choice', capacity: 2 }), { mixes: true }))

describe('with soft routing', () => runEncoderTests(configOf({ kind: 'soft', slots: 2 })))

describe('with a routing of whole sequences', () => runEncoderTests(configOf({ kind: 'sequence' })))

describe('with PEER', () =>
  runEncoderTests(
    configOf(null, { num_local_experts: 25, experts: { kind: 'peer', heads: 2, k: 3, querySize: 6 } }),
  ))

test('experts that choose are loaded alike in every layer', () => {
  using model = createModel(configOf({ kind: 'expert-choice', capacity: 1 }))
  const { routings } = model.eval().forward(tokensOf(randint(0, 49, [2, 8], { seed: 1 })))
  expect(routings.map(({ chosen }) => chosen.kind)).toEqual(['expert', 'expert'])
  for (const { chosen } of routings) {
    if (chosen.kind === 'expert') expect(routingStats(chosen).load).toEqual([4, 4, 4, 4])
  }
})

test('attends to the whole sequence, and keeps nothing of it', () => {
  const config = configOf({ kind: 'top-k' })
  expect(flopsPerToken(config, 32).meanContext).toBe(32)
  expect(memoryNeeds(config, 'f32').cachePerToken).toBe(0)
})

test.each([
  [{ mask_token_id: 50 }, 'mask_token_id 50 is outside of the vocabulary of 50'],
  [{ mask_token_id: undefined }, 'mask_token_id'],
  [{ sliding_window: 8 }, 'sliding_window = 8 is not supported; it must be null'],
  [{ router: undefined }, 'router: is missing: gated experts need one'],
])('%o is refused', (change, message) => {
  expect(() => configOf({ kind: 'top-k' }, change)).toThrow(message)
})

test('what needs a decoder refuses it', () => {
  const config = parseAnyConfig({ ...fields, router: { kind: 'top-k' } }, 'test')
  expect(() => requireDecoder(config, 'model')).toThrow(
    'model: switchyard_moe_encoder is an encoder, which fills in masked tokens and cannot continue a text',
  )
})
