// MixLoRA around every model that has a dense feed-forward.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { expectSameAsLoop } from '../../../tests/support/experts.ts'
import { fixture } from '../../../tests/support/fixtures.ts'
import { disturbAdapters, expectTrueGradients } from '../../../tests/support/gradients.ts'
import { hfBalanceLoss } from '../../moe/index.ts'
import { GatedMlp } from '../../nn/index.ts'
import { manualSeed, noGrad, randint, type Tensor, tidy } from '../../torch/index.ts'
import { createModel } from '../architectures/create.ts'
import { parseModelConfig } from '../architectures/table.ts'
import { loadAdapters, saveAdapters } from '../files/adapter/adapter-files.ts'
import { openModel } from '../files/open.ts'
import { openTensors } from '../files/tensor-file.ts'
import { saveModel } from '../files/write-folder.ts'
import type { CausalLM } from '../stack/language-model.ts'
import { tokenRoutings } from '../stack/layers.ts'
import { tokensOf } from '../stack/tokens.ts'
import { type AdapterModule, adapterSchema, attachAdapters } from './attach.ts'
import { MixLora } from './mix-lora.ts'

const mistral = join(temporaryFolder(), 'mistral')
beforeAll(() => {
  const sizes = { vocab_size: 96, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2 }
  const heads = { num_attention_heads: 2, num_key_value_heads: 2 }
  const config = parseModelConfig(
    { model_type: 'mistral', ...sizes, ...heads, initializer_range: 0.2 },
    'test',
  )
  manualSeed(1)
  using model = createModel(config)
  saveModel(mistral, model, config)
})

const config = adapterSchema.parse({ kind: 'mixlora', rank: 3, alpha: 6, experts: 4, k: 2 })
const folderOf = (name: string): string => (name === 'mistral' ? mistral : fixture(name))
const open = (name: string): CausalLM =>
  openModel(folderOf(name)).load({ kind: 'decoder', dtype: 'f64', mapped: false })

const ids = randint(0, 96, [2, 12], { seed: 3 }).persist()
const logits = (model: CausalLM): Tensor => noGrad(() => model.forward(tokensOf(ids)).logits)
const distance = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item()

/** In f64, with random values in place of the zeros that it starts with. */
function adapted(model: CausalLM): Map<string, AdapterModule> {
  const adapters = attachAdapters(model, config)
  model.to('f64').eval()
  disturbAdapters(adapters)
  return adapters
}

describe.each(['mistral', 'deepseek_v2', 'deepseek_v3', 'glm4_moe', 'qwen3_moe'])('%s', name => {
  test('computes at first what it did, then something else, and opened from its files that', () => {
    const folder = temporaryFolder()
    tidy(() => {
      const model = open(name)
      const before = logits(model)
      const adapters = attachAdapters(model, config)
      model.to('f64').eval()
      // The weights of a token's experts, which sum to one but for their rounding, times numbers near 10.
      expect(distance(logits(model), before)).toBeLessThan(1e-13)
      disturbAdapters(adapters)
      const after = logits(model)
      expect(distance(after, before)).toBeGreaterThan(1e-3)
      saveAdapters(folder, { adapters, config, base: folderOf(name), whole: new Map() })
      expect(distance(logits(openModel(folder).load({ kind: 'decoder', dtype: 'f64' })), after)).toBe(0)
    })
  })

  test('its adapters alone have gradients, which are those of finite differences', () => {
    tidy(() => {
      const model = open(name)
      adapted(model)
      const own = new Set<string>()
      for (const [path, parameter] of model.namedParameters())
        if (parameter.declaration.role === 'adapter') own.add(path)
        else parameter.requiresGrad_(false)
      expect([...own].filter(path => path.endsWith('.gate.weight')).length).toBeGreaterThan(0)
      const loss = (): Tensor => {
        const { loss, routings } = model.loss(tokensOf(ids), ids.reshape([-1]))
        return loss.add(hfBalanceLoss(tokenRoutings(routings)), 0.1)
      }
      expectTrueGradients(model, loss, path => own.has(path))
    })
  })
})

test('its experts are feed-forwards with B A added to their matrices', () => {
  manualSeed(2)
  const mlp = new GatedMlp(8, 6)
  using mixture = new MixLora(mlp, { rank: 2, alpha: 3, dropout: 0, experts: 3, k: 2 }).to('f64')
  disturbAdapters(new Map([['mlp', mixture]]))
  expectSameAsLoop(mixture.experts, { tokens: 9, hidden: 8, numExperts: 3, topK: 2 })
  tidy(() => {
    const { gate_proj } = mixture.experts
    const added = gate_proj.lora_B
      .select(0, 1)
      .matmul(gate_proj.lora_A.select(0, 1))
      .mul(3 / 2)
    expect(distance(gate_proj.weightOf(1), gate_proj.base.weight.add(added))).toBeLessThan(1e-15)
  })
})

describe('files', () => {
  const folder = join(temporaryFolder(), 'adapter')
  mkdirSync(folder)
  const settings = (): Record<string, unknown> =>
    JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8'))

  test('have the names and settings of the authors', () => {
    tidy(() => {
      const model = open('mistral')
      saveAdapters(folder, { adapters: adapted(model), config, base: mistral, whole: new Map() })
      const names = [...openTensors(join(folder, 'adapter_model.safetensors')).keys()]
      expect(names).toHaveLength(2 * (1 + 3 * 4 * 2 + 4 * 2)) // layers of a gate, experts and attention
      expect(names).toEqual(
        expect.arrayContaining([
          'mixlora.layers.0.gate.weight',
          'mixlora.layers.1.experts.3.down_proj.lora_B.weight',
          'mixlora.layers.1.self_attn.q_proj.lora_A.weight',
        ]),
      )
    })
    expect(settings()).toEqual({
      ...{ bias: 'none', peft_type: 'MIXLORA', task_type: 'CAUSAL_LM', base_model_name_or_path: mistral },
      ...{ r: 3, lora_alpha: 6, lora_dropout: 0, routing_strategy: 'mixtral', num_experts: 4, top_k: 2 },
      target_modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
    })
  })

  test('are restored bit for bit, and refused around other modules', () => {
    tidy(() => {
      const [model, other] = [openModel(folder).load({ kind: 'decoder', dtype: 'f64' }), open('mistral')]
      const adapters = attachAdapters(other, config)
      other.to('f64').eval()
      loadAdapters(folder, { adapters, config, base: mistral, whole: new Map() })
      expect(distance(logits(other), logits(model))).toBe(0)
      const third = open('mistral')
      const fewer = adapterSchema.parse({ ...config, experts: 3 })
      const around = {
        adapters: attachAdapters(third, fewer),
        config: fewer,
        base: mistral,
        whole: new Map(),
      }
      expect(() => loadAdapters(folder, around)).toThrow(
        'is of another adapter: mixlora.layers.0.gate.weight is',
      )
    })
  })

  test('stay apart from the base: there is no sum to write', () => {
    expect(() => openModel(folder).source).toThrow(
      `is an adapter of ${mistral} and stays one: MixLoRA chooses experts for each token`,
    )
  })

  test.each([
    ['use_dora', true],
    ['expert_lora', { r: 2 }],
    ['act_fn', 'gelu_new'],
    ['routing_strategy', 'switch'],
    ['top_k', 5],
  ])('with %s are refused by name', (field, value) => {
    const other = temporaryFolder()
    writeFileSync(join(other, 'adapter_config.json'), JSON.stringify({ ...settings(), [field]: value }))
    expect(() => openModel(other)).toThrow(`${field} is not what is known of MixLoRA here`)
  })
})

test('parts without a dense feed-forward, and more experts of a token than there are, are refused', () => {
  expect(() => attachAdapters(open('olmoe'), config)).toThrow(
    'adapter.on: attention,dense has no dense feed-forward, which mixlora is around',
  )
  const many = adapterSchema.parse({ ...config, k: 5 })
  expect(() => attachAdapters(open('mistral'), many)).toThrow('adapter.k: 5 exceeds adapter.experts, 4')
})
