// Every architecture against Hugging Face transformers, and through the tests that all models share.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { runModelTests } from '../../tests/support/model-runner.ts'
import { referenceLogits } from '../../tests/support/reference-decoder.ts'
import { expectClose } from '../../tests/support/tensors.ts'
import { inferenceMode, manualSeed, noGrad, randn, tensor } from '../torch/index.ts'
import { architectureOf, parseModelConfig, readModelConfig, verifyModel } from './index.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../tests/fixtures/${name}`, import.meta.url))

const f64 = { dtype: 'f64' } as const

/** Settings that published models have and the recorded ones do not. */
const variants: Record<string, Record<string, unknown>[]> = {
  qwen2_moe: [
    { use_sliding_window: true, sliding_window: 3, layer_types: null, norm_topk_prob: true },
    { qkv_bias: false, decoder_sparse_step: 2, tie_word_embeddings: true },
  ],
  qwen3_moe: [{ use_sliding_window: true, sliding_window: 4, mlp_only_layers: [], attention_bias: true }],
  olmoe: [{ clip_qkv: 0.5, num_key_value_heads: 2, norm_topk_prob: true, hidden_act: 'gelu' }],
  deepseek_v2: [
    {
      q_lora_rank: 12,
      topk_method: 'group_limited_greedy',
      n_group: 3,
      topk_group: 2,
      n_shared_experts: null,
    },
    {
      rope_parameters: {
        rope_type: 'yarn',
        rope_theta: 10_000,
        factor: 4,
        original_max_position_embeddings: 16,
        mscale: 0.7,
        mscale_all_dim: 0.7,
      },
    },
  ],
  deepseek_v3: [{ q_lora_rank: null, attention_bias: true, rope_interleave: false, norm_topk_prob: false }],
  gpt_oss: [{ swiglu_limit: 0.5, layer_types: ['full_attention', 'sliding_attention'], sliding_window: 3 }],
  granitemoe: [{ tie_word_embeddings: true, attention_bias: true }],
  phimoe: [
    {
      attention_bias: true,
      lm_head_bias: true,
      sliding_window: 5,
      router_jitter_noise: 0.3,
      rope_scaling: {
        type: 'longrope',
        short_factor: [1, 1.1, 1.2, 1.3],
        long_factor: [2, 3, 4, 5],
        short_mscale: 1.1,
        long_mscale: 1.2,
        original_max_position_embeddings: 128,
      },
      rope_parameters: null,
    },
  ],
  glm4_moe: [{ use_qk_norm: false, attention_bias: true, partial_rotary_factor: 1, rope_parameters: null }],
}

describe.each(Object.entries(variants))('%s', (name, changes) => {
  test('logits within 1e-5 of transformers, greedy tokens equal', async () => {
    const folder = fixture(name)
    const checks = await verifyModel(folder, join(folder, 'reference.safetensors'), 1e-5)
    expect(checks.map(({ name, ok }) => [name, ok])).toEqual([
      ['logits', true],
      ['generated', true],
    ])
  })

  runModelTests(readModelConfig(fixture(name)))

  test.each([{}, ...changes])('the plain reference computes the same with %j', change => {
    const json = JSON.parse(readFileSync(join(fixture(name), 'config.json'), 'utf8')) as object
    const config = parseModelConfig({ ...json, ...change }, name)
    manualSeed(7)
    using model = architectureOf(config).create(config).to('f64').eval()
    noGrad(() => {
      // Large enough that bounds, windows and routing matter; sinks and biases are not left at zero.
      for (const parameter of model.parameters()) parameter.mul_(5).add_(randn(parameter.shape, f64).mul(0.1))
    })
    const ids = [5, 17, 3, 60, 42, 42, 9, 33, 81, 12]
    const { logits } = inferenceMode(() => model.forward(tensor([ids.map(BigInt)])))
    const wanted = tensor(referenceLogits(config, model.stateDict(), ids), f64).unsqueeze(0)
    // f64 but for angles, whose cosines and sines are rounded to f32: 6e-8 of scores of size ten, in two layers.
    expectClose(logits, wanted, 2e-5)
  })

  describe.each(changes)('with %j', change => {
    const json: unknown = JSON.parse(readFileSync(join(fixture(name), 'config.json'), 'utf8'))
    runModelTests(parseModelConfig({ ...(json as object), ...change }, name))
  })
})
