import { describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../tests/support/tensors.ts'
import { tinySizes } from '../../tests/support/tiny-sizes.ts'
import {
  createModel,
  type LanguageModel,
  parseModelConfig,
  type Recompute,
  type SwitchyardMoeConfig,
  type SwitchyardMoeEncoderConfig,
  tokensOf,
} from '../models/index.ts'
import {
  BiasedTopKRouter,
  ownLossCoefficients,
  type RouterConfig,
  routerSchema,
  tokensChoose,
} from '../moe/index.ts'
import { type KvStore, withinTokens } from '../nn/index.ts'
import {
  type KernelName,
  kernelNames,
  manualSeed,
  memoryUse,
  randint,
  resetPeakMemory,
  tidy,
  withKernels,
} from '../torch/index.ts'
import { type Batch, batchOf, lossesSchema } from './objective.ts'
import { AdamW } from './optimizer/adamw.ts'
import { trainStep } from './step.ts'

function modelOf(router: RouterConfig | null, fields: object = {}): LanguageModel {
  manualSeed(1)
  const json = { ...tinySizes, ...(router && { router }), moe_layers: [0, 1], ...fields }
  const config = parseModelConfig({ model_type: 'switchyard_moe', ...json }, 'test')
  return config.model_type === 'switchyard_moe_encoder'
    ? createModel(config as SwitchyardMoeEncoderConfig)
    : createModel(config as SwitchyardMoeConfig)
}

function batch(seed: number): Batch {
  const ids = randint(0, 40, [2, 9], { seed })
  return batchOf({ inputs: ids.narrow(1, 0, 8), targets: ids.narrow(1, 1, 8) })
}

/** Losses of three steps of two micro-batches, and everything that training changed, flat. */
function trained(model: LanguageModel, router: RouterConfig | null, recompute: Recompute): unknown {
  model.model.recompute = recompute
  const losses = lossesSchema.parse({
    balance: router && tokensChoose(router) ? { coefficient: 0.3 } : 'none',
    z: 0.1,
    router: router ? ownLossCoefficients(router) : {},
  })
  const group = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0.1 }
  using optimizer = new AdamW([group], { betas: [0.9, 0.95], epsilon: 1e-8 })
  const options = { losses, learningRate: 0.01, clip: 1, observe: true }
  manualSeed(2)
  const steps = [0, 2, 4].map(seed => trainStep(model, optimizer, [batch(seed), batch(seed + 1)], options))
  return { steps, state: [...model.stateDict()].map(([path, tensor]) => [path, tensor.tolist()]) }
}

function expectSame(router: RouterConfig | null, { fields = {}, dtype = 'f32' as 'f32' | 'f64' } = {}): void {
  expectNoLeak(() => {
    const [kept, again] = (['none', 'layers'] as const).map(recompute => {
      using model = modelOf(router, fields).to(dtype)
      return trained(model, router, recompute)
    })
    expect(again).toEqual(kept)
  })
}

describe('layers that are computed again train as those that are kept, bit for bit', () => {
  test.each<[string, RouterConfig]>([
    ['the default router', routerSchema.parse({ k: 2 })],
    ['jitter of the input', routerSchema.parse({ k: 2, jitter: 0.1 })],
    ['noise of learnt size', routerSchema.parse('noisy-top-k')],
    ['experts that are drawn', routerSchema.parse('reinforce')],
    ['a bias that counts what is served', routerSchema.parse({ kind: 'biased-top-k', biasRate: 0.1 })],
    ['centres that follow their tokens', routerSchema.parse({ kind: 'centroids', momentum: 0.5 })],
  ])('%s', (_, router) => expectSame(router))

  test('in f64', () => expectSame(routerSchema.parse('noisy-top-k'), { dtype: 'f64' }))

  test('with dropout in the experts', () =>
    expectSame(routerSchema.parse({}), { fields: { experts: { kind: 'gated', dropout: 0.3 } } }))

  test('neurons retrieved under batch norm, whose averages move once', () =>
    expectSame(null, {
      fields: { num_local_experts: 16, experts: { kind: 'peer', heads: 2, k: 2, querySize: 8 } },
    }))

  test.each(['expert-choice', 'soft'] as const)('%s in an encoder', kind =>
    expectSame(routerSchema.parse(kind), {
      fields: { model_type: 'switchyard_moe_encoder', mask_token_id: 39 },
    }),
  )

  test.each<[string, readonly KernelName[]]>([
    ['no kernel', []],
    ...kernelNames.map((name): [string, readonly KernelName[]] => [`the kernel ${name} alone`, [name]]),
  ])('with %s', (_, names) => withKernels(names, () => expectSame(routerSchema.parse({}))))
})

test('what a router serves is counted once', () => {
  const k = 2
  using model = modelOf(routerSchema.parse({ kind: 'biased-top-k', k }))
  model.model.recompute = 'layers'
  tidy(() => model.loss(batch(1).inputs, batch(1).targets).loss.backward())
  const counted = [...model.namedModules()].flatMap(([, module]) =>
    module instanceof BiasedTopKRouter ? module.served.sum().item() : [],
  )
  expect(counted).toEqual([2 * 8 * k, 2 * 8 * k])
})

test('a cache, which a second run would fill twice, is not computed again', () => {
  using model = modelOf(routerSchema.parse({}))
  model.model.recompute = 'layers'
  let appended = 0
  const layers = model.model.layers.map(() => ({
    attend: (...asked: Parameters<KvStore['attend']>) => {
      appended++
      return withinTokens.attend(...asked)
    },
  }))
  tidy(() => {
    const cache = { layers, advance: () => undefined }
    model.forward(batch(1).inputs, { cache }).logits.sum().backward()
  })
  expect(appended).toBe(tinySizes.num_hidden_layers)
})

test('a layer more takes its input and its routing, not its activations', () => {
  const [rows, length, width, experts, k] = [4, 32, tinySizes.hidden_size, tinySizes.num_local_experts, 2]
  const peak = (recompute: Recompute, layers: number): number => {
    const moe_layers = Array.from({ length: layers }, (_, i) => i)
    using model = modelOf(routerSchema.parse({ k }), { num_hidden_layers: layers, moe_layers })
    model.model.recompute = recompute
    const ids = randint(0, 40, [rows, length], { seed: 1 })
    const step = (): void => tidy(() => model.model.forward(tokensOf(ids)).hidden.sum().backward())
    step() // gradients are there from now on
    const before = memoryUse().bytes
    resetPeakMemory()
    step()
    return memoryUse().peakBytes - before
  }
  const perLayer = (recompute: Recompute): number => (peak(recompute, 8) - peak(recompute, 4)) / 4
  tidy(() => {
    const tokens = rows * length
    const input = 4 * tokens * width
    const routing = tokens * (8 * k + 4 * k + 2 * 4 * experts) // indices, weights, logits, probabilities
    const randomState = 5056 // of the Mersenne Twister
    const slack = 8 * 64 // a block may be larger than what was asked for
    expect(perLayer('layers')).toBeLessThanOrEqual(input + routing + randomState + slack)
    // Two norms, queries, keys, values, their mixture, its projection, and twice the sum are kept at least.
    expect(perLayer('none')).toBeGreaterThan(8 * input)
  })
})
