// LoRAMoE's localized balance from the gates of adapters to their gradients.
import { describe, expect, test } from 'vitest'
import { encoderDecoders, fixture } from '../../tests/support/fixtures.ts'
import { disturbAdapters, expectTrueGradients } from '../../tests/support/gradients.ts'
import { pairsFor } from '../../tests/support/pairs.ts'
import {
  adapterSchema,
  attachAdapters,
  EncoderDecoderLM,
  openModel,
  SoftGate,
  type Tokens,
  type TrainableModel,
  tokensOf,
} from '../models/index.ts'
import { localizedBalanceLoss } from '../moe/index.ts'
import { randint, type Tensor, tidy } from '../torch/index.ts'
import { type Batch, computeObjective, lossesSchema } from './objective.ts'
import { checkRecipe } from './recipe/check.ts'

const localized = { domains: ['facts'], delta: 0.2, coefficient: 3 }
const losses = lossesSchema.parse({ balance: 'none', z: 0, localized })
const ids = randint(3, 90, [2, 8], { seed: 3 }).persist()

function batchFor(model: TrainableModel): Batch {
  const batch =
    model instanceof EncoderDecoderLM
      ? pairsFor(model)
      : { inputs: tokensOf(ids), targets: ids.reshape([-1]) }
  const sampleDomains = batch.inputs.starts.slice(1).map((_, i) => (i % 2 ? 'chat' : 'facts'))
  return { ...batch, sampleDomains }
}

/** A model in training, whose gates keep what they give. */
function adapted(name: string): { model: TrainableModel; gates: SoftGate[] } {
  const model = openModel(fixture(name)).load({ dtype: 'f64', mapped: false }) as TrainableModel
  const adapters = attachAdapters(model, adapterSchema.parse({ kind: 'molora', rank: 2, experts: 4 }))
  model.to('f64').eval()
  disturbAdapters(adapters)
  for (const parameter of model.parameters())
    parameter.requiresGrad_(parameter.declaration.role === 'adapter')
  const gates = [...model.namedModules()].flatMap(([, part]) => (part instanceof SoftGate ? part : []))
  for (const gate of gates) {
    gate.keeps = true
    gate.training = true
  }
  return { model, gates }
}

test.each(['olmoe', 'deepseek_v3', 'gpt_oss', ...encoderDecoders])(
  '%s: gradients are those of finite differences',
  name => {
    tidy(() => {
      const { model } = adapted(name)
      const adapters = new Set(
        [...model.namedParameters()].flatMap(([path, { declaration }]) =>
          declaration.role === 'adapter' ? path : [],
        ),
      )
      const loss = (): Tensor => computeObjective(model, batchFor(model), losses).total
      expectTrueGradients(model, loss, path => adapters.has(path))
    })
  },
)

test('it is the sum over all gates, and nothing is kept after', () => {
  tidy(() => {
    const { model, gates } = adapted('olmoe')
    const batch = batchFor(model)
    const { terms, total } = computeObjective(model, batch, losses)
    expect(gates.every(gate => gate.taken() === null)).toBe(true)
    expect(total.item()).toBeCloseTo(
      (terms.crossEntropy?.item() ?? 0) + 3 * (terms.localized?.item() ?? 0),
      12,
    )
    if (!(model instanceof EncoderDecoderLM)) model.loss(batch.inputs, batch.targets)
    const options = { isFirst: [true, false], delta: 0.2 }
    const sum = gates.reduce(
      (all, gate) => all + localizedBalanceLoss(gate.taken() as Tensor, [0, 8, 16], options).item(),
      0,
    )
    expect(terms.localized?.item()).toBeCloseTo(sum, 12)
  })
})

test.each(encoderDecoders)('%s: gates that read sources are balanced over them', name => {
  tidy(() => {
    const { model } = adapted(name)
    const gates = [...model.namedModules()].filter(([, part]) => part instanceof SoftGate)
    const reads = (path: string): boolean =>
      path.startsWith('encoder') || /cross_attention\.[kv]_proj/.test(path)
    const batch = batchFor(model) // targets are shorter than sources, and one longer
    const { terms } = computeObjective(model, batch, losses)
    const [inputs, source] = [batch.inputs.starts, batch.source?.starts ?? []]
    if (model instanceof EncoderDecoderLM) model.loss(batch.source as Tokens, batch.inputs, batch.targets)
    const sum = gates.reduce((all, [path, gate]) => {
      const options = { isFirst: [true, false], delta: 0.2 }
      const weights = (gate as SoftGate).taken() as Tensor
      return all + localizedBalanceLoss(weights, reads(path) ? source : inputs, options).item()
    }, 0)
    expect(terms.localized?.item()).toBeCloseTo(sum, 12)
  })
})

describe('a recipe is refused', () => {
  const recipe = (more: object): unknown =>
    checkRecipe(
      {
        ...{
          name: 'x',
          steps: 1,
          model: { from: fixture('olmoe') },
          losses: { localized: { domains: ['a'] } },
        },
        data: { path: 'x', sequenceLength: 8, batchSize: 2 },
        optimizer: { kind: 'adamw', learningRate: 1 },
        ...more,
      },
      'test',
    )

  test.each([
    [{}, 'losses.localized: is for mixtures of adapters'],
    [{ adapter: 'lora' }, 'losses.localized: is for mixtures of adapters'],
    [{ adapter: 'mov', recompute: 'layers' }, 'recompute: is not for losses.localized'],
    [{ adapter: 'molora', graph: true }, 'graph: is not for losses.localized'],
  ])('%j', (more, problem) => expect(() => recipe(more)).toThrow(problem))

  test('unless its adapters are mixtures', () => expect(recipe({ adapter: 'mov' })).toBeDefined())
})
