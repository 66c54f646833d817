// A graphed step trains as trainStep() does. On a CPU the step is run in place of a replay, with all that is around it: what
// is tried out first must leave no trace.

import { expect, test } from 'vitest'
import { expectNoLeak } from '../../tests/support/tensors.ts'
import { tinySizes } from '../../tests/support/tiny-sizes.ts'
import { type CausalLM, createModel, parseModelConfig, type SwitchyardMoeConfig } from '../models/index.ts'
import { manualSeed, randint, runtimeInfo, type Tensor, tidy } from '../torch/index.ts'
import { GraphedStep } from './graphed-step.ts'
import { type Batch, batchOf, lossesSchema } from './objective.ts'
import { AdamW } from './optimizer/adamw.ts'
import { type StepOptions, trainStep } from './step.ts'

const device = runtimeInfo().cuda ? 'cuda' : 'cpu'

/** With a router that counts what it routes and moves a bias by it. */
function trainee(): { model: CausalLM; optimizer: AdamW } {
  manualSeed(1)
  const config = parseModelConfig(
    {
      model_type: 'switchyard_moe',
      router: { kind: 'biased-top-k', k: 2 },
      ...tinySizes,
    },
    'test',
  ) as SwitchyardMoeConfig
  const model = createModel(config).to('bf16').to(device)
  const group = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0.1 }
  return { model, optimizer: new AdamW([group], { betas: [0.9, 0.95], epsilon: 1e-8 }) }
}

function batches(step: number): Batch[] {
  return [1, 2].map(part => {
    const ids = randint(0, 40, [3, 17], { seed: 10 * step + part }).to(device)
    return batchOf({ inputs: ids.narrow(1, 0, 16).contiguous(), targets: ids.narrow(1, 1, 16).contiguous() })
  })
}

const optionsOf = (step: number): StepOptions => ({
  losses: lossesSchema.parse({}),
  learningRate: 0.01 / (step + 1),
  pace: 1 / (step + 1),
  clip: 0.5,
  observe: step % 2 === 1,
})

test('step by step the same losses, norms, weights and biases', () => {
  expectNoLeak(() => {
    const [plain, graphed] = [trainee(), trainee()]
    const graph = new GraphedStep(graphed.model, graphed.optimizer, batches(0), optionsOf(0))
    for (let step = 0; step < 5; step++) {
      const wanted = tidy(() => trainStep(plain.model, plain.optimizer, batches(step), optionsOf(step)))
      const got = tidy(() => graph.run(batches(step), optionsOf(step)))
      if (optionsOf(step).observe) expect(got).toEqual(wanted)
    }
    expect(graphed.optimizer.step).toBe(plain.optimizer.step)
    for (const [name, tensor] of plain.model.stateDict())
      expect(
        graphed.model
          .stateDict()
          .get(name)
          ?.equal(tensor as Tensor),
        name,
      ).toBe(true)
    graph.dispose()
    for (const { model, optimizer } of [plain, graphed]) {
      model.zeroGrad()
      model.dispose()
      optimizer.dispose()
    }
  })
})

test('a bad step that is seen moves no bias, and is forgotten', () => {
  const [plain, graphed] = [trainee(), trainee()]
  const seen = (step: number): StepOptions => ({ ...optionsOf(step), observe: true })
  const graph = new GraphedStep(graphed.model, graphed.optimizer, batches(0), seen(0))
  const biases = ({ model }: typeof plain): unknown[] =>
    [...model.stateDict()].flatMap(([name, tensor]) => (name.endsWith('bias') ? [tensor.tolist()] : []))
  expect(biases(plain).length).toBeGreaterThan(0)
  for (let step = 0; step < 4; step++) {
    const results = [plain, graphed].map(one => {
      const { weight } = one.model.model.norm
      const before = weight.detach().clone()
      if (step === 1) weight.detach().fill_(Number.NaN)
      const result = tidy(() =>
        one === plain
          ? trainStep(one.model, one.optimizer, batches(step), seen(step))
          : graph.run(batches(step), seen(step)),
      )
      if (step === 1) weight.detach().copy_(before)
      return result.updated
    })
    expect(results).toEqual([step !== 1, step !== 1])
    expect(biases(graphed)).toEqual(biases(plain))
  }
  graph.dispose()
})
