import { describe, expect, test } from 'vitest'
import { decoders, fixture } from '../../tests/support/fixtures.ts'
import { expectClose } from '../../tests/support/tensors.ts'
import {
  type CausalLM,
  createModel,
  type LanguageModel,
  type MixtralConfig,
  openModel,
  parseModelConfig,
  type SwitchyardMoeConfig,
  tokenRoutings,
  tokensOf,
} from '../models/index.ts'
import {
  type AnyRouting,
  BiasedTopKRouter,
  ownLossCoefficients,
  routerSchema,
  routerZLoss,
  switchBalanceLoss,
  type TokenRouting,
} from '../moe/index.ts'
import { cat, crossEntropyLoss, manualSeed, randint, type Tensor, tidy } from '../torch/index.ts'
import { type Batch, batchOf, computeObjective, type Losses, lossesSchema, warmedUp } from './objective.ts'
import { AdamW } from './optimizer/adamw.ts'
import { gradientNorm } from './optimizer/clip.ts'
import { groupsSchema, parameterGroups } from './optimizer/groups.ts'
import { LossScaler } from './precision.ts'
import { checkRecipe } from './recipe/check.ts'
import { firstModel } from './recipe/model-config.ts'
import { type StepOptions, trainStep } from './step.ts'

const config = parseModelConfig(
  {
    model_type: 'mixtral',
    vocab_size: 40,
    hidden_size: 16,
    intermediate_size: 16,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    num_local_experts: 4,
    num_experts_per_tok: 2,
    initializer_range: 0.2,
  },
  'test',
) as MixtralConfig

function fresh(): CausalLM {
  manualSeed(1)
  return createModel(config).to('f64')
}

function batch(seed: number, rows = 2): Batch {
  const ids = randint(0, 40, [rows, 9], { seed })
  return batchOf({ inputs: ids.narrow(1, 0, 8), targets: ids.narrow(1, 1, 8) })
}

const crossEntropyOnly = lossesSchema.parse({ balance: { kind: 'none' }, z: 0 })

const options: StepOptions = {
  losses: crossEntropyOnly,
  learningRate: 0.01,
  clip: null,
  observe: true,
}

function optimizerOf(model: CausalLM, weightDecay = 0): AdamW {
  return new AdamW([{ name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay }], {
    betas: [0.9, 0.95],
    epsilon: 1e-8,
  })
}

describe('trainStep', () => {
  test('two micro-batches train as one batch of both', () => {
    const [a, b] = [batch(1), batch(2)]
    const both = {
      inputs: tokensOf(cat([a.inputs.ids.view([-1, 8]), b.inputs.ids.view([-1, 8])])),
      targets: cat([a.targets, b.targets]),
    }
    const [split, joined] = [fresh(), fresh()]
    const one = trainStep(split, optimizerOf(split), [a, b], options)
    const two = trainStep(joined, optimizerOf(joined), [both], options)
    expect(one.gradientNorm).toBeCloseTo(two.gradientNorm ?? 0, 12)
    expect(one.losses?.total).toBeCloseTo(two.losses?.total ?? 0, 12)
    for (const [name, parameter] of split.namedParameters()) {
      expectClose(parameter, joined.namedParameters().get(name) ?? parameter.neg(), 1e-9) // Adam divides by small roots
    }
  })

  test('a gradient above the limit moves parameters as one scaled to it', () => {
    const clipped = fresh()
    const { gradientNorm: norm } = trainStep(clipped, optimizerOf(clipped), [batch(1)], {
      ...options,
      clip: 1e-3,
    })
    const scaled = fresh()
    scaled.zeroGrad()
    tidy(() =>
      computeObjective(scaled, batch(1), crossEntropyOnly)
        .total.mul(1e-3 / (Number(norm) + 1e-6))
        .backward(),
    )
    expect(gradientNorm(scaled.parameters()).item()).toBeCloseTo(1e-3, 6)
    optimizerOf(scaled).update(options.learningRate)
    for (const [name, parameter] of clipped.namedParameters()) {
      expectClose(parameter, scaled.namedParameters().get(name) ?? parameter.neg(), 1e-9)
    }
  })

  test('a gradient with NaN moves nothing', () => {
    const model = fresh()
    const before = model.lm_head?.weight.clone() as Tensor
    model.model.norm.weight.detach().fill_(Number.NaN)
    const { updated, gradientNorm: norm } = trainStep(model, optimizerOf(model), [batch(1)], options)
    expect(updated).toBe(false)
    expect(norm).toBeNaN()
    expectClose(model.lm_head?.weight as Tensor, before, 0)
  })

  test('observed losses are those of the objective, and routing is described for every layer', () => {
    const model = fresh()
    const losses = lossesSchema.parse({})
    const { losses: seen, routing } = trainStep(model, optimizerOf(model), [batch(1)], { ...options, losses })
    const again = computeObjective(fresh(), batch(1), losses)
    expect(seen?.total).toBeCloseTo(again.total.item(), 12)
    expect(seen?.crossEntropy).toBeCloseTo(again.terms.crossEntropy?.item() ?? 0, 12)
    expect(routing?.map(({ layer, load }) => [layer, load.reduce((x, y) => x + y)])).toEqual([
      [0, 32],
      [1, 32],
    ])
  })
})

describe('routers that adapt without a gradient', () => {
  const biasRate = 0.125
  const biased = (): CausalLM => {
    manualSeed(1)
    const router = { kind: 'biased-top-k', k: 1, biasRate }
    const json = { ...config, model_type: 'switchyard_moe', router }
    return createModel(parseModelConfig(json, 'test') as SwitchyardMoeConfig)
  }
  const biases = (model: CausalLM): unknown[] =>
    [...model.namedModules()].flatMap(([, module]) =>
      module instanceof BiasedTopKRouter ? [module.e_score_correction_bias.tolist()] : [],
    )
  /** A step in whose gradients there is NaN, the model as it was before. */
  const badStep = (model: CausalLM, optimizer: AdamW, more: Partial<StepOptions> = {}) => {
    const { weight } = model.model.norm
    const before = weight.detach().clone()
    weight.detach().fill_(Number.NaN)
    expect(trainStep(model, optimizer, [batch(5), batch(6)], { ...options, ...more }).updated).toBe(false)
    weight.detach().copy_(before)
  }

  test('adapt after a step, and not after one that was dropped', () => {
    const model = biased()
    const optimizer = optimizerOf(model)
    const still = [
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ]
    badStep(model, optimizer)
    expect(biases(model)).toEqual(still)
    trainStep(model, optimizer, [batch(1)], options)
    expect(biases(model)).not.toEqual(still)
  })

  test('forget what a dropped step routed', () => {
    const [one, other] = [biased(), biased()]
    const [optimizer, otherOptimizer] = [optimizerOf(one), optimizerOf(other)]
    badStep(one, optimizer)
    for (let seed = 1; seed <= 3; seed++) {
      trainStep(one, optimizer, [batch(seed)], options)
      trainStep(other, otherOptimizer, [batch(seed)], options)
      expect(biases(one)).toEqual(biases(other))
    }
  })

  test('adapt at the pace of the learning rate', () => {
    const model = biased()
    trainStep(model, optimizerOf(model), [batch(1)], { ...options, pace: 0.25 })
    const moved = (biases(model) as number[][]).flat().filter(bias => bias !== 0)
    expect(moved.length).toBeGreaterThan(0)
    for (const bias of moved) expect(Math.abs(bias)).toBe(biasRate / 4)
  })

  test('the loss scale takes note of each step: half after a bad one, double after a good one', () => {
    const model = biased()
    const optimizer = optimizerOf(model)
    const lossScaler = new LossScaler({ initial: 8, growthInterval: 1 })
    badStep(model, optimizer, { lossScaler })
    expect(lossScaler.scale).toBe(4)
    trainStep(model, optimizer, [batch(1)], { ...options, lossScaler })
    expect(lossScaler.scale).toBe(8)
  })
})

describe('computeObjective', () => {
  function termsOf(losses: unknown): { total: number; crossEntropy: number; balance: number[]; z: number[] } {
    return tidy(() => {
      const { total, terms, routings } = computeObjective(
        fresh(),
        batch(1),
        lossesSchema.parse(losses) as Losses,
      )
      return {
        total: total.item(),
        crossEntropy: terms.crossEntropy?.item() ?? Number.NaN,
        balance: tokenRoutings(routings).map(chosen => switchBalanceLoss(chosen).item()),
        z: tokenRoutings(routings).map(chosen => routerZLoss(chosen).item()),
      }
    })
  }
  const sum = (values: number[]): number => values.reduce((a, b) => a + b)

  test('adds each loss with its coefficient', () => {
    const { total, crossEntropy, balance, z } = termsOf({
      balance: { kind: 'switch', coefficient: 0.3 },
      z: 0.07,
    })
    expect(total).toBeCloseTo(crossEntropy + 0.3 * sum(balance) + 0.07 * sum(z), 12)
  })

  test('takes the mean over layers when told', () => {
    const { total, crossEntropy, balance } = termsOf({
      balance: { kind: 'switch', coefficient: 0.3, layers: 'mean' },
      z: 0,
    })
    expect(total).toBeCloseTo(crossEntropy + (0.3 * sum(balance)) / 2, 12)
  })

  test('leaves out what is switched off', () => {
    const { total, crossEntropy } = termsOf({ balance: { kind: 'none' }, z: 0 })
    expect(total).toBe(crossEntropy)
  })
})

test('a policy is taught by the cross-entropy of each token, its certainty held down', () => {
  const router = routerSchema.parse('reinforce')
  const json = { ...config, model_type: 'switchyard_moe', router }
  const model = createModel(parseModelConfig(json, 'test') as SwitchyardMoeConfig)
  const losses = lossesSchema.parse({ balance: 'none', z: 0, router: ownLossCoefficients(router) })
  const { inputs, targets } = batch(1)
  const { total, terms, routings } = computeObjective(model, { inputs, targets }, losses)
  total.backward()
  const value = (name: string): number => terms[name]?.item() ?? Number.NaN
  const own = value('router.policy') + value('router.value') + 0.01 * value('router.certainty')
  const sum = value('crossEntropy') + own
  expect(total.item()).toBeCloseTo(sum, 5)
  expect(routings.length).toBe(2)
  for (const [path, parameter] of model.namedParameters()) {
    if (path.endsWith('gate.weight')) expect(parameter.grad?.abs().sum().item()).toBeGreaterThan(0)
  }
})

test("one token's losses have the mean that training minimises", () => {
  const model = fresh()
  const { inputs, targets } = batch(3)
  const { loss, hidden } = model.loss(inputs, targets)
  expect(model.tokenLosses(hidden, targets).shape).toEqual([16])
  expectClose(model.tokenLosses(hidden, targets).mean(), loss, 1e-12)
})

test('the balance coefficient grows over its warm-up, and nothing else changes', () => {
  const losses = lossesSchema.parse({ balance: { coefficient: 0.2 }, balanceWarmup: 10 })
  const at = (step: number): unknown => warmedUp(losses, step).balance
  expect(at(0)).toMatchObject({ kind: 'switch', coefficient: 0 })
  expect(at(5)).toMatchObject({ coefficient: 0.1 })
  expect(at(10)).toEqual(losses.balance)
  expect(warmedUp(losses, 5).z).toBe(losses.z)
  expect(warmedUp(lossesSchema.parse({ balance: 'none', balanceWarmup: 10 }), 0).balance).toEqual({
    kind: 'none',
  })
})

test('groups take their own weight decay and learning rate', () => {
  const model = fresh()
  const settings = groupsSchema.parse({
    router: { scale: 0.5, weightDecay: 0 },
    experts: { weightDecay: 0.3 },
  })
  const groups = parameterGroups(model.namedParameters(), settings, 0.1)
  expect(groups.map(({ name, scale, weightDecay }) => [name, scale, weightDecay])).toEqual([
    ['router', 0.5, 0],
    ['experts', 1, 0.3],
    ['norms', 1, 0],
    ['embeddings', 1, 0.1],
    ['other', 1, 0.1],
  ])
  expect(groups.flatMap(group => [...group.parameters.keys()]).sort()).toEqual(
    [...model.namedParameters().keys()].sort(),
  )
})

test("a recipe's dispatch reaches every layer", () => {
  const recipe = checkRecipe(
    {
      name: 'x',
      steps: 1,
      model: {
        type: 'mixtral',
        hidden_size: 16,
        intermediate_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 2,
      },
      dispatch: { kind: 'capacity', factor: 0.25, minimum: 1 },
      data: { path: 'x', sequenceLength: 8, batchSize: 2 },
      optimizer: { kind: 'adamw', learningRate: 1 },
    },
    'test',
  )
  manualSeed(1)
  const { routings } = (firstModel(recipe, config) as LanguageModel).forward(
    tokensOf(randint(0, 40, [2, 8], { seed: 1 })),
  )
  for (const { chosen, served } of routings) {
    const filled = (routing: AnyRouting): number => (routing as TokenRouting).indices.ge(0).sum().item()
    expect(filled(chosen)).toBe(32)
    expect(filled(served)).toBeLessThanOrEqual(4 * 2) // 4 experts, ceil(0.25 * 32 / 4) slots each
  }
})

test.each(decoders)('labels of %s are smoothed as PyTorch does, its head as it is', name => {
  using model = openModel(fixture(name)).load({ kind: 'stack' }).eval().to('f64')
  tidy(() => {
    const ids = randint(0, 40, [2, 9], { seed: 1 })
    const { inputs, targets } = batchOf({ inputs: ids.narrow(1, 0, 8), targets: ids.narrow(1, 1, 8) })
    const losses = { ...crossEntropyOnly, labelSmoothing: 0.1 }
    const { total } = computeObjective(model, { inputs, targets }, losses)
    const [mean, ignored] = [1, -100]
    const wanted = crossEntropyLoss(model.forward(inputs).logits, targets, null, mean, ignored, 0.1)
    // Steady f32 parts (rotary tables, router logits) are the same in both; what differs is the order of f64 sums.
    expectClose(total, wanted, 1e-9)
  })
})
