// Adapters around models of every architecture.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { decoders, fixture } from '../../../tests/support/fixtures.ts'
import { disturbAdapters } from '../../../tests/support/gradients.ts'
import { writeSafetensors } from '../../formats/index.ts'
import { manualSeed, noGrad, randint, randn, type Tensor, tensor, tidy } from '../../torch/index.ts'
import { createModel } from '../architectures/create.ts'
import { parseModelConfig } from '../architectures/table.ts'
import { loadAdapters, saveAdapters } from '../files/adapter/adapter-files.ts'
import { mergeAdapter } from '../files/adapter/merge.ts'
import { writeGgufModel } from '../files/conversion/to-gguf.ts'
import { parseTypeRules } from '../files/conversion/type-rules.ts'
import { noTokenizer } from '../files/gguf/write-tokenizer.ts'
import { openModel } from '../files/open.ts'
import { openSource } from '../files/source.ts'
import { openTensors, wholeTensorSource } from '../files/tensor-file.ts'
import { saveModel } from '../files/write-folder.ts'
import type { CausalLM } from '../stack/language-model.ts'
import { tokensOf } from '../stack/tokens.ts'
import { type AdapterConfig, type AdapterModule, adapterSchema, attachAdapters } from './attach.ts'

const open = (name: string): CausalLM =>
  openModel(fixture(name)).load({ kind: 'decoder', dtype: 'f64', mapped: false })

const ids = randint(0, 96, [2, 12], { seed: 3 }).persist()
const logits = (model: CausalLM): Tensor => noGrad(() => model.forward(tokensOf(ids)).logits)

const distance = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item()

describe.each(decoders)('%s', name => {
  const on = ['attention', 'experts', 'shared', 'dense', 'head']
  const config: AdapterConfig = adapterSchema.parse({ rank: 3, alpha: 6, on })

  test('computes at first what it did, then something else, and merged the same', () => {
    const folder = temporaryFolder()
    tidy(() => {
      const model = open(name)
      const before = logits(model)
      const adapters = attachAdapters(model, config)
      model.to('f64').eval()
      expect(distance(logits(model), before)).toBeLessThan(1e-12)
      disturbAdapters(adapters)
      const adapted = logits(model)
      expect(distance(adapted, before)).toBeGreaterThan(1e-2)
      saveAdapters(folder, { adapters, config, base: fixture(name), whole: new Map() })
      const merged = openModel(folder).load({ kind: 'decoder', dtype: 'f64' })
      // Sums of a few hundred products of numbers near 1, in another order.
      expect(distance(logits(merged), adapted)).toBeLessThan(1e-11)
    })
  })

  test('its adapters are restored from their files bit for bit', () => {
    const folder = temporaryFolder()
    tidy(() => {
      const [first, second] = [open(name), open(name)]
      const adapters = attachAdapters(first, config)
      first.to('f64').eval()
      disturbAdapters(adapters)
      saveAdapters(folder, { adapters, config, base: 'x', whole: new Map() })
      const others = attachAdapters(second, config)
      second.to('f64').eval()
      loadAdapters(folder, { adapters: others, config, base: 'x', whole: new Map() })
      expect(distance(logits(second), logits(first))).toBe(0)
    })
  })
})

test('two of the experts alone: the others compute what they did', () => {
  tidy(() => {
    const config = adapterSchema.parse({ rank: 2, on: 'experts:1.0,experts:1.3' })
    const model = open('olmoe')
    const adapters = attachAdapters(model, config)
    model.to('f64')
    expect([...adapters.keys()]).toEqual(['model.layers.1.mlp.experts'])
    disturbAdapters(adapters)
    const experts = adapters.get('model.layers.1.mlp.experts')
    const before = open('olmoe').model.layers[1]?.mlp as unknown as { experts: typeof experts }
    const x = randn([5, experts?.parameters()[0]?.size(-1) ?? 0], { seed: 1 }).double()
    const changes = [0, 1, 2, 3].map(e => distance(expertOf(experts, e, x), expertOf(before.experts, e, x)))
    expect(changes.map(change => change > 0)).toEqual([true, false, false, true])
    const folder = temporaryFolder()
    saveAdapters(folder, { adapters, config, base: fixture('olmoe'), whole: new Map() })
    const merged = openModel(folder).load({ kind: 'decoder', dtype: 'f64' })
    expect(distance(logits(merged), logits(model.eval()))).toBeLessThan(1e-11)
  })
})

const expertOf = (experts: AdapterModule | undefined, index: number, x: Tensor): Tensor =>
  noGrad(() => (experts as Extract<AdapterModule, { expert: unknown }>).expert(index, x))

describe('what is refused', () => {
  test('parts that no adapter is for', () => {
    expect(() => attachAdapters(open('olmoe'), adapterSchema.parse({ on: 'norms' }))).toThrow(
      'adapter.on: norms has no linear layer and no stacked experts',
    )
    expect(() => attachAdapters(open('olmoe'), adapterSchema.parse({ on: 'experts:7.0' }))).toThrow(
      "adapter.on: 'experts:7.0' is not there: layers with experts are 0, 1",
    )
  })

  test('an adapter of another base, by names and shapes', () => {
    const folder = join(temporaryFolder(), 'adapter')
    mkdirSync(folder)
    tidy(() => {
      const config = adapterSchema.parse({ on: 'attention' })
      const other = open('deepseek_v3')
      saveAdapters(folder, { adapters: attachAdapters(other, config), config, base: 'x', whole: new Map() })
      const model = open('olmoe')
      const before = logits(model)
      expect(() => mergeAdapter(model, openModel(fixture('olmoe')).config, folder)).toThrow(
        /is for another base than this: .*model.layers.0.self_attn.q_a_proj is not in the model/,
      )
      expect(distance(logits(model), before)).toBe(0)
    })
  })

  test('an adapter of itself, and configs of other kinds', () => {
    const folder = temporaryFolder()
    const config = { peft_type: 'LORA', r: 8, lora_alpha: 16, base_model_name_or_path: folder }
    const write = (fields: object): void =>
      writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify({ ...config, ...fields }))
    write({})
    expect(() => openModel(folder)).toThrow('is an adapter whose base is itself')
    write({ base_model_name_or_path: null })
    expect(() => openModel(folder)).toThrow('names no base model: set base_model_name_or_path')
    for (const [field, value] of Object.entries({
      use_dora: true,
      bias: 'all',
      rank_pattern: { q: 2 },
      peft_type: 'IA3',
      init_lora_weights: 'pissa_niter_4',
    })) {
      write({ [field]: value })
      expect(() => openModel(folder)).toThrow(`${field}`)
    }
  })

  test.each([
    ['alone', { 'base_model.model.lm_head.lora_A.weight': [2, 32] }, 'lm_head has no lora_B'],
    [
      'no matrix',
      { 'base_model.model.lm_head.lora_A.weight': [2], 'base_model.model.lm_head.lora_B.weight': [2, 2] },
      'no matrices',
    ],
    ['another name', { 'lm_head.lora_A.weight': [2, 32] }, "tensor 'lm_head.lora_A.weight' is no adapter's"],
    [
      'a module that is not there',
      { 'base_model.model.extra.weight': [2, 2] },
      'extra.weight is not in the model',
    ],
  ])('%s', (_, shapes, message) => {
    const folder = temporaryFolder()
    const base = fixture('olmoe')
    const config = { peft_type: 'LORA', r: 2, lora_alpha: 4, base_model_name_or_path: base }
    writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(config))
    tidy(() => {
      const tensors = Object.entries(shapes).map(([name, shape]) => wholeTensorSource(name, randn(shape)))
      writeSafetensors(join(folder, 'adapter_model.safetensors'), tensors)
      expect(() => openModel(folder).load()).toThrow(message)
    })
  })

  test('tensors of other numbers than the adapters have', () => {
    const folder = temporaryFolder()
    tidy(() => {
      const attached = (rank: number): { adapters: Map<string, AdapterModule>; config: AdapterConfig } => {
        const config = adapterSchema.parse({ rank, on: 'head' })
        return { adapters: attachAdapters(open('olmoe'), config), config }
      }
      saveAdapters(folder, { ...attached(2), base: 'x', whole: new Map() })
      expect(() => loadAdapters(folder, { ...attached(3), base: 'x', whole: new Map() })).toThrow(
        'is of another adapter: base_model.model.lm_head.lora_A.weight is [2, 32], not [3, 32]',
      )
    })
  })
})

test("PEFT's layout of a stack: two matrices, experts by turns in the second", () => {
  const folder = temporaryFolder()
  tidy(() => {
    const config = adapterSchema.parse({ rank: 1, alpha: 1, on: 'experts:0' })
    const model = open('olmoe')
    const adapters = attachAdapters(model, config)
    model.to('f64')
    disturbAdapters(adapters)
    saveAdapters(folder, { adapters, config, base: fixture('olmoe'), whole: new Map() })
    const layer = adapters.get('model.layers.0.mlp.experts') as Extract<AdapterModule, { up: unknown }>
    const delta = (e: number): Tensor =>
      noGrad(() => layer.matrices().up.select(0, e).sub(layer.base.stacks.up.select(0, e)))
    const files = openTensors(join(folder, 'adapter_model.safetensors'))
    // The first parameter that is wrapped lies under the second's base_layer.
    const a = files.get('base_model.model.model.layers.0.mlp.experts.base_layer.lora_A.weight') as Tensor
    const b = files.get('base_model.model.model.layers.0.mlp.experts.base_layer.lora_B.weight') as Tensor
    const experts = layer.numExperts
    for (const e of [0, experts - 1]) {
      const column = b.indexSelect(1, tensor([BigInt(e)])) // [J, 1]: rank 1, so expert e is column e
      const row = a.narrow(0, e, 1) // [1, I]
      expect(distance(column.matmul(row).t(), delta(e))).toBeLessThan(1e-15)
    }
  })
})

describe('around encoded weights', () => {
  const folder = temporaryFolder()
  const file = join(folder, 'blocks.gguf')
  // Rows of whole blocks: 64 columns, experts 32 wide.
  const config = parseModelConfig({
    model_type: 'olmoe',
    ...{
      vocab_size: 96,
      hidden_size: 64,
      intermediate_size: 32,
      num_hidden_layers: 2,
      num_attention_heads: 2,
    },
    ...{ num_key_value_heads: 2, num_experts: 4, num_experts_per_tok: 2 },
  })
  manualSeed(11)
  const random = createModel(config)
  saveModel(join(folder, 'model'), random, config)
  random.dispose()
  writeGgufModel(openSource(join(folder, 'model')), file, {
    rules: parseTypeRules('q8_0', 'test'),
    name: 'blocks',
    tokenizer: noTokenizer,
  })
  const adapterConfig = adapterSchema.parse({ rank: 2, on: 'attention,experts,head' })

  /** What a part gives and the gradients of its input and of its adapter, with weights as the file has them or decoded. */
  function partOf(
    weights: 'stored' | 'decoded',
    run: (adapters: Map<string, AdapterModule>, x: Tensor) => Tensor,
  ): number[][] {
    return tidy(() => {
      const model = openModel(file).load({ kind: 'decoder', weights, mapped: false }).train()
      const adapters = attachAdapters(model, adapterConfig)
      disturbAdapters(adapters)
      for (const parameter of model.parameters())
        if (parameter.declaration.role !== 'adapter') parameter.requiresGrad_(false)
      const x = randn([6, 64], { seed: 8, requiresGrad: true })
      const y = run(adapters, x)
      y.mul(randn(y.shape, { seed: 9 }))
        .sum()
        .backward()
      const learnt = model
        .parameters()
        .flatMap(({ grad }) => (grad ? [grad.flatten().tolist() as number[]] : []))
      return [y.flatten().tolist() as number[], x.grad?.flatten().tolist() as number[], ...learnt]
    })
  }

  test.each([
    ['a linear layer', 'model.layers.1.self_attn.q_proj'],
    ['the head', 'lm_head'],
  ])('%s computes and learns as around the same weights decoded', (_, path) => {
    const run = (adapters: Map<string, AdapterModule>, x: Tensor): Tensor =>
      (adapters.get(path) as Extract<AdapterModule, { lora_A: unknown }>).forward(x)
    const stored = partOf('stored', run)
    expect(stored).toHaveLength(4)
    expect(stored).toEqual(partOf('decoded', run))
  })

  test('experts compute and learn as around the same weights decoded', () => {
    const routing = {
      kind: 'token' as const,
      ...{ indices: randint(0, 4, [6, 2], { seed: 4 }), weights: randn([6, 2], { seed: 5 }) },
      ...{ logits: randn([6, 4], { seed: 6 }), probs: randn([6, 4], { seed: 6 }), mask: null },
    }
    const run = (adapters: Map<string, AdapterModule>, x: Tensor): Tensor =>
      (adapters.get('model.layers.1.mlp.experts') as Extract<AdapterModule, { mix: unknown }>).mix(x, routing)
    const stored = partOf('stored', run)
    expect(stored).toHaveLength(6)
    expect(stored).toEqual(partOf('decoded', run))
  })

  test('experts without adapters pass gradients on', () => {
    const gradient = (weights: 'stored' | 'decoded'): unknown =>
      tidy(() => {
        const model = openModel(file).load({ kind: 'decoder', weights })
        for (const parameter of model.parameters()) parameter.requiresGrad_(false)
        const x = randn([6, 64], { seed: 8, requiresGrad: true })
        const output = model.model.layers[0]?.mlp.forward(x) as { y: Tensor }
        output.y.square().sum().backward()
        return x.grad?.tolist()
      })
    expect(gradient('stored')).toEqual(gradient('decoded'))
  })
})
