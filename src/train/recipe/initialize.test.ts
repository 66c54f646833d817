import { expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { type CausalLM, createModel, type LanguageModel, parseModelConfig } from '../../models/index.ts'
import { manualSeed } from '../../torch/index.ts'
import { initialize, initSchema } from './initialize.ts'

const truncated = initSchema.parse({ kind: 'truncated' })

function model(experts: number, seed = 5): CausalLM {
  const config = parseModelConfig(
    {
      model_type: 'mixtral',
      vocab_size: 64,
      hidden_size: 64,
      intermediate_size: 96,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      num_local_experts: experts,
    },
    'init',
  )
  const made = createModel(config as never)
  initialize(made, truncated, seed)
  return made
}

const weights = (made: LanguageModel, path: string) => {
  const found = made.stateDict().get(path)
  if (!found) throw new Error(`no ${path}`)
  return found.detach()
}

test('matrices are within two standard deviations, and vary as a truncated normal does', () => {
  const gateUp = weights(model(8), 'model.layers.1.mlp.experts.gate_up_proj') // fan in 64
  const std = Math.sqrt(0.1 / 64)
  expect(gateUp.abs().max().item()).toBeLessThanOrEqual(2 * std * (1 + 1e-6))
  // Variance of a normal cut at two standard deviations: 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.7737. Of 98,304 numbers the
  // standard error of the variance is below 0.4% of it; 2% are five of them.
  const expected = 0.7737 * std ** 2
  expect(Math.abs(gateUp.square().mean().item() / expected - 1)).toBeLessThan(0.02)
  expect(Math.abs(gateUp.mean().item())).toBeLessThan((5 * std) / Math.sqrt(gateUp.numel))
  const down = weights(model(8), 'model.layers.1.mlp.experts.down_proj') // fan in 96
  expect(down.abs().max().item()).toBeLessThanOrEqual(2 * Math.sqrt(0.1 / 96) * (1 + 1e-6))
})

test('experts differ, and more of them leave the first ones as they were', () => {
  const path = 'model.layers.0.mlp.experts.down_proj'
  const [few, many] = [weights(model(2), path), weights(model(4), path)]
  expectClose(many.narrow(0, 0, 2), few, 0)
  expect(few.select(0, 0).sub(few.select(0, 1)).abs().max().item()).toBeGreaterThan(0.01)
  expect(
    few
      .sub(weights(model(2), 'model.layers.1.mlp.experts.down_proj'))
      .abs()
      .max()
      .item(),
  ).toBeGreaterThan(0.01)
})

test('the seed decides, whatever was drawn before; norms and the embedding are left alone', () => {
  manualSeed(1)
  const one = model(2)
  const other = model(2)
  const [head, embedding] = ['lm_head.weight', 'model.embed_tokens.weight']
  expectClose(weights(one, head), weights(other, head), 0)
  expect(
    weights(one, head)
      .sub(weights(model(2, 6), head))
      .abs()
      .max()
      .item(),
  ).toBeGreaterThan(0.01)
  expect(weights(one, embedding).sub(weights(other, embedding)).abs().max().item()).toBeGreaterThan(0.01)
  expect(weights(one, 'model.norm.weight').mean().item()).toBe(1)
})

test.each([
  ['noisy-top-k', {}, ['weight', 'noise_weight']],
  ['hierarchical', { groups: 2 }, ['weight', 'noise_weight', 'primary_weight', 'primary_noise_weight']],
])('%s keeps the zeros that its rule starts with, its experts do not', (kind, options, zeros) => {
  const config = parseModelConfig(
    {
      model_type: 'switchyard_moe',
      vocab_size: 64,
      hidden_size: 16,
      intermediate_size: 8,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 2,
      num_local_experts: 4,
      moe_layers: [0],
      router: { kind, ...options },
    },
    'init',
  )
  const made = createModel(config)
  const before = weights(made, 'model.layers.0.mlp.experts.down_proj').clone()
  initialize(made as LanguageModel, truncated, 5)
  for (const zero of zeros)
    expect(weights(made, `model.layers.0.mlp.gate.${zero}`).abs().max().item()).toBe(0)
  const after = weights(made, 'model.layers.0.mlp.experts.down_proj')
  expect(after.sub(before).abs().max().item()).toBeGreaterThan(0.01)
})
