import { expect, test } from 'vitest'
import { countParameters, parseModelConfig, presetCounts, presetNames, presetOf } from './index.ts'

/** Exact where config.json or the paper's sizes give every tensor. */
test.each([
  ['mixtral-8x7b', 46_702_792_704, 12_879_925_248],
  ['mixtral-8x22b', 140_630_071_296, 39_161_468_928],
  ['olmoe-1b-7b', 6_919_161_856, 1_282_017_280],
  ['switch-base-128', 7_415_169_024, 224_034_816],
  ['switch-base-256', 14_664_105_984, 225_214_464],
])('%s has %i parameters, of which a token uses %i', (name, total, active) => {
  expect(presetCounts(presetOf(name))).toMatchObject({ total, active })
})

/** Published to these digits: GLaM table 4, Switch table 9 (395B, 1571B), DeepSeek-V3 section 4.2 (671B, 37B). */
test.each([
  ['glam-64b-64e', 1.1618e12, 9.66e10],
  ['deepseek-v3', 6.71e11, 3.755e10],
  ['switch-xxl', 3.947e11, undefined],
  ['switch-c', 1.571e12, undefined],
])('%s has about %d parameters, of which a token uses about %d', (name, total, active) => {
  const counts = presetCounts(presetOf(name))
  const digits = (value: number, like: number): number =>
    Number(value.toPrecision(like.toExponential().replace(/e.*|\./g, '').length))
  expect(digits(counts.total, total)).toBe(total)
  if (active !== undefined) expect(digits(counts.active, active)).toBe(active)
})

test('the experts of Switch-C, and what is beside them', () => {
  const { parts } = presetCounts(presetOf('switch-c'))
  expect(parts).toMatchObject({ experts: 1_570_347_417_600, attention: 766_771_200, routers: 127_795_200 })
})

test('GLaM uses 8% of its parameters, though 2 of 64 experts are 3%', () => {
  const { total, active } = presetCounts(presetOf('glam-64b-64e'))
  expect(active / total).toBeCloseTo(0.083, 3)
})

test("Mixtral's closed form is what its config.json gives", () => {
  const config = parseModelConfig(
    {
      model_type: 'mixtral',
      vocab_size: 32_000,
      hidden_size: 4096,
      intermediate_size: 14_336,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      num_local_experts: 8,
      num_experts_per_tok: 2,
    },
    'test',
  )
  const { total, active } = presetCounts(presetOf('mixtral-8x7b'))
  expect(countParameters(config)).toMatchObject({ total, active })
})

test("OLMoE's and DeepSeek-V3's closed forms are what their config.json give", () => {
  const olmoe = parseModelConfig(
    {
      model_type: 'olmoe',
      vocab_size: 50_304,
      hidden_size: 2048,
      intermediate_size: 1024,
      num_hidden_layers: 16,
      num_attention_heads: 16,
      num_experts: 64,
      num_experts_per_tok: 8,
    },
    'test',
  )
  const { total, active } = presetCounts(presetOf('olmoe-1b-7b'))
  expect(countParameters(olmoe)).toMatchObject({ total, active })
  const deepseek = parseModelConfig(
    {
      model_type: 'deepseek_v3',
      vocab_size: 129_280,
      hidden_size: 7168,
      intermediate_size: 18_432,
      moe_intermediate_size: 2048,
      num_hidden_layers: 61,
      first_k_dense_replace: 3,
      num_attention_heads: 128,
      num_key_value_heads: 128,
      q_lora_rank: 1536,
      kv_lora_rank: 512,
      qk_nope_head_dim: 128,
      qk_rope_head_dim: 64,
      v_head_dim: 128,
      n_routed_experts: 256,
      n_shared_experts: 1,
      num_experts_per_tok: 8,
      n_group: 8,
      topk_group: 4,
    },
    'test',
  )
  const bias = 58 * 256 // which the preset leaves out: no gradient trains it
  expect(countParameters(deepseek).total).toBe(presetCounts(presetOf('deepseek-v3')).total + bias)
})

test('parts add up, and a wrong name lists the right ones', () => {
  for (const name of presetNames) {
    const { total, active, parts } = presetCounts(presetOf(name))
    expect(Object.values(parts).reduce((a, b) => a + b)).toBe(total)
    expect(active).toBeLessThan(total)
  }
  expect(() => presetOf('gpt')).toThrow('preset:gpt: is no preset; there are mixtral-8x7b, ')
})
