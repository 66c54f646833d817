import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { logitsOf } from '../../../tests/support/logits.ts'
import { runModelTests } from '../../../tests/support/model-runner.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { writeSafetensors } from '../../formats/index.ts'
import {
  type CausalLM,
  countParameters,
  createModel,
  denseTwin,
  flopsPerToken,
  layerTable,
  type MixtralConfig,
  memoryNeeds,
  openModel,
  openTensors,
  parseModelConfig,
  readModelConfig,
  saveModel,
  verifyModel,
  wholeTensorSource,
} from '../index.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))
const loadModel = (path: string): CausalLM => openModel(path).load({ kind: 'decoder' })
const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const small = parseModelConfig(
  {
    model_type: 'mixtral',
    vocab_size: 50,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    num_local_experts: 4,
    num_experts_per_tok: 2,
    max_position_embeddings: 32,
  },
  'small',
) as MixtralConfig

describe('Mixtral', () => runModelTests(small))
describe('Mixtral with a sliding window', () => runModelTests({ ...small, sliding_window: 3 }))
describe('Mixtral with a tied embedding and wide heads', () =>
  runModelTests({ ...small, tie_word_embeddings: true, head_dim: 6 }))
describe('its dense twin', () => runModelTests(denseTwin(small)))

describe('against Hugging Face transformers', () => {
  test('logits within 1e-5, greedy tokens equal', async () => {
    const checks = await verifyModel(
      fixture('mixtral'),
      join(fixture('mixtral'), 'reference.safetensors'),
      1e-5,
    )
    expect(checks.map(({ name, ok }) => [name, ok])).toEqual([
      ['logits', true],
      ['generated', true],
    ])
  })

  test('tensors under in-memory names load as well', () => {
    const published = loadModel(fixture('mixtral'))
    const folder = join(scratch, 'merged')
    cpSync(fixture('mixtral'), folder, { recursive: true })
    writeSafetensors(
      join(folder, 'model.safetensors'),
      [...published.namedParameters()].map(([name, tensor]) => wholeTensorSource(name, tensor)),
    )
    const merged = loadModel(folder)
    for (const [name, tensor] of published.stateDict()) {
      expectClose(merged.stateDict().get(name) ?? tensor.neg(), tensor, 0)
    }
  })

  test('half-precision files are widened', () => {
    const folder = join(scratch, 'half')
    cpSync(fixture('mixtral'), folder, { recursive: true })
    const tensors = openTensors(join(folder, 'model.safetensors'))
    writeSafetensors(
      join(scratch, 'half.safetensors'),
      [...tensors].map(([name, tensor]) => wholeTensorSource(name, tensor.to('bf16'))),
    )
    cpSync(join(scratch, 'half.safetensors'), join(folder, 'model.safetensors'))
    const model = loadModel(folder)
    expect(model.model.norm.weight.dtype).toBe('f32')
    const weight = model.model.embed_tokens.weight
    expectClose(weight, tensors.get('model.embed_tokens.weight')?.to('bf16').float() ?? weight.neg(), 0)
  })

  test('a sharded folder loads', () => {
    const folder = join(scratch, 'sharded')
    cpSync(fixture('mixtral'), folder, { recursive: true })
    const tensors = [...openTensors(join(folder, 'model.safetensors'))]
    const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
    const weight_map = Object.fromEntries(tensors.map(([name], i) => [name, shards[i % 2]]))
    for (const shard of shards) {
      const part = tensors.filter(([name]) => weight_map[name] === shard)
      writeSafetensors(
        join(folder, shard),
        part.map(([name, tensor]) => wholeTensorSource(name, tensor)),
      )
    }
    rmSync(join(folder, 'model.safetensors'))
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map }))
    const ids = openTensors(join(folder, 'reference.safetensors')).get('input_ids')
    expectClose(logitsOf(loadModel(folder), ids!), logitsOf(loadModel(fixture('mixtral')), ids!), 0)
  })
})

describe('a folder that does not fit is refused with every difference', () => {
  function broken(change: (config: Record<string, unknown>, folder: string) => void): string {
    const folder = mkdtempSync(join(scratch, 'broken-'))
    cpSync(fixture('mixtral'), folder, { recursive: true })
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
    change(config, folder)
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
    return folder
  }

  test('a tensor that is missing, one too many, and a wrong shape', () => {
    const folder = broken((_, at) => {
      const file = join(at, 'model.safetensors')
      const tensors = [...openTensors(file)]
        .filter(([name]) => name !== 'model.norm.weight')
        .map(([name, tensor]) =>
          wholeTensorSource(name, name === 'lm_head.weight' ? tensor.narrow(0, 0, 3).contiguous() : tensor),
        )
      const extra = { name: 'extra', dtype: 'F32' as const, shape: [1], bytes: () => new Uint8Array(4) }
      writeSafetensors(`${file}.new`, [...tensors, extra])
      cpSync(`${file}.new`, file)
    })
    expect(() => loadModel(folder)).toThrow(
      `${folder}: tensors do not fit config.json: missing model.norm.weight; lm_head.weight is [3, 32], config.json says [96, 32]; surplus extra`,
    )
  })

  test.each([
    ['hidden_act', 'mish', 'hidden_act = "mish" is not one of silu, swish, gelu,'],
    ['attention_bias', true, 'attention_bias = true is not supported; it must be false'],
    ['attention_dropout', 0.1, 'attention_dropout = 0.1 is not supported; it must be 0'],
    ['num_experts_per_tok', 9, 'num_experts_per_tok 9 must not exceed num_local_experts 4'],
    ['num_attention_heads', 5, 'hidden_size 32 is not divisible by num_attention_heads 5'],
    ['num_key_value_heads', 3, 'num_attention_heads 4 is not divisible by num_key_value_heads 3'],
    [
      'rope_parameters',
      { rope_type: 'mrope' },
      'rope_type = "mrope" is not supported; it must be one of default, linear',
    ],
    ['rope_parameters', { rope_type: 'linear' }, 'rope_type linear: factor: is missing'],
    ['rope_parameters', { rope_type: 'llama3', factor: 8 }, 'rope_type llama3: low_freq_factor: is missing'],
    [
      'rope_parameters',
      { rope_type: 'longrope', short_factor: [1], long_factor: [1, 2, 3, 4] },
      'short_factor has 1 numbers, but there are 4 rotary frequencies',
    ],
    [
      'quantization_config',
      { quant_method: 'gptq' },
      'quantization_config.quant_method = "gptq" cannot be read; it must be one of fp8, mxfp4',
    ],
    ['vocab_size', -1, 'vocab_size: must be above 0, got -1'],
    ['hidden_size', 1e12, 'hidden_size: must be at most 2147483648, got 1000000000000'],
    ['num_hidden_layers', 1e6, 'num_hidden_layers: must be at most 10000, got 1000000'],
    ['hidden_size', undefined, 'hidden_size: is missing'],
    ['model_type', 'gpt9', 'model_type "gpt9" is not one of mixtral, mistral, qwen2_moe'],
    ['model_type', 'toString', 'model_type "toString" is not one of'],
  ])('%s = %o', (field, value, message) => {
    const folder = broken(config => {
      config[field] = value
    })
    expect(() => readModelConfig(folder)).toThrow(message)
  })

  test('no config, no weights, a shard outside of the folder', () => {
    expect(() => readModelConfig(scratch)).toThrow('not a model folder: config.json is missing')
    expect(() => readModelConfig(join(scratch, 'none'))).toThrow('no such file or folder')
    const folder = broken((_, at) => rmSync(join(at, 'model.safetensors')))
    expect(() => loadModel(folder)).toThrow(
      'holds neither model.safetensors nor model.safetensors.index.json',
    )
    writeFileSync(
      join(folder, 'model.safetensors.index.json'),
      JSON.stringify({ weight_map: { a: '../../etc/passwd' } }),
    )
    expect(() => loadModel(folder)).toThrow('names a shard outside of its folder: "../../etc/passwd"')
    writeFileSync(join(folder, 'config.json'), '{"a": ')
    expect(() => readModelConfig(folder)).toThrow('is not JSON')
  })
})

describe("fields that config.json leaves out are HF's defaults", () => {
  const sizes = {
    vocab_size: 32000,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  }

  test.each([
    ['mixtral', { rms_norm_eps: 1e-5, rope_theta: 1e6, sliding_window: null }],
    ['mistral', { rms_norm_eps: 1e-6, rope_theta: 1e4, sliding_window: 4096 }],
  ])('%s', (model_type, own) => {
    expect(parseModelConfig({ model_type, ...sizes }, 'defaults')).toMatchObject({
      ...own,
      num_key_value_heads: 8,
      max_position_embeddings: 131_072,
      bos_token_id: 1,
      eos_token_id: 2,
      pad_token_id: null,
    })
  })

  test('null is no omission', () => {
    const nulls = { num_key_value_heads: null, sliding_window: null, eos_token_id: null }
    expect(parseModelConfig({ model_type: 'mistral', ...sizes, ...nulls }, 'nulls')).toMatchObject({
      num_key_value_heads: 32,
      sliding_window: null,
      eos_token_id: null,
    })
  })
})

test('the padding token is embedded as zero, and config.json names the dtype of the weights', () => {
  using model = createModel({ ...small, pad_token_id: 3 })
  expect(model.model.embed_tokens.weight.select(0, 3).abs().sum().item()).toBe(0)
  expect(model.model.embed_tokens.weight.select(0, 4).abs().sum().item()).toBeGreaterThan(0)
  const folder = mkdtempSync(join(scratch, 'half-'))
  saveModel(folder, model.to('bf16'), small)
  expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')).dtype).toBe('bfloat16')
})

describe('accounting', () => {
  const mixtral8x7b = parseModelConfig(
    {
      model_type: 'mixtral',
      vocab_size: 32000,
      hidden_size: 4096,
      intermediate_size: 14336,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      num_local_experts: 8,
      num_experts_per_tok: 2,
      max_position_embeddings: 32768,
    },
    'Mixtral-8x7B',
  ) as MixtralConfig

  test('Mixtral 8x7B and 8x22B, Mistral 7B', () => {
    expect(countParameters(mixtral8x7b)).toEqual({
      total: 46_702_792_704,
      active: 12_879_925_248,
      activeWithoutEmbedding: 12_879_925_248 - 32000 * 4096,
    })
    const larger = {
      hidden_size: 6144,
      intermediate_size: 16384,
      num_hidden_layers: 56,
      num_attention_heads: 48,
      vocab_size: 32768,
    }
    expect(countParameters({ ...mixtral8x7b, ...larger })).toMatchObject({
      total: 140_630_071_296,
      active: 39_161_468_928,
    })
    const mistral7b = { ...denseTwin({ ...mixtral8x7b, num_experts_per_tok: 1 }) }
    expect(countParameters(mistral7b)).toMatchObject({ total: 7_241_732_096, active: 7_241_732_096 })
  })

  test('the dense twin has the active parameters of its MoE, the router aside', () => {
    const router = mixtral8x7b.num_hidden_layers * mixtral8x7b.num_local_experts * mixtral8x7b.hidden_size
    expect(countParameters(denseTwin(mixtral8x7b)).active).toBe(countParameters(mixtral8x7b).active - router)
  })

  test('FLOPs: two per active parameter, and attention over the mean context', () => {
    const { forward, training, meanContext } = flopsPerToken(small, 8)
    expect(meanContext).toBe(4.5)
    expect(forward).toBe(2 * countParameters(small).activeWithoutEmbedding + 4 * 4 * 4 * 4.5 * 2)
    expect(training).toBe(3 * forward)
    const windowed = flopsPerToken({ ...small, sliding_window: 2 }, 4).meanContext
    expect(windowed).toBe((1 + 2 + 2 + 2) / 4)
  })

  test('memory: weights, optimizer, cache', () => {
    const { total } = countParameters(small)
    expect(memoryNeeds(small, 'bf16')).toEqual({
      weights: 2 * total,
      optimizer: 10 * total,
      cachePerToken: 2 * 2 * 2 * 4 * 2,
    })
  })

  test('the rows of the layer table add up', () => {
    const rows = layerTable(small)
    expect(rows.map(row => row.name)).toEqual(['embed_tokens', 'layers 0-1', 'norm', 'lm_head'])
    const total = (pick: 'total' | 'active'): number =>
      rows.reduce((sum, row) => sum + row[pick] * row.count, 0)
    expect(total('total')).toBe(countParameters(small).total)
    expect(total('active')).toBe(countParameters(small).active)
  })
})
