// What is trained and what stays, in models of every architecture.
import { describe, expect, test } from 'vitest'
import { decoders, fixture } from '../../../tests/support/fixtures.ts'
import { expectTrueAdapterGradients, expectTrueGradients } from '../../../tests/support/gradients.ts'
import { type CausalLM, openModel } from '../../models/index.ts'
import type { Parameter } from '../../nn/index.ts'
import { randint, type Tensor, tidy } from '../../torch/index.ts'
import { type Batch, batchOf, computeObjective, lossesSchema } from '../objective.ts'
import { AdamW } from '../optimizer/adamw.ts'
import { trainStep } from '../step.ts'
import { TrainedParameters } from './trained.ts'

const open = (name: string, dtype: 'f32' | 'f64' = 'f32'): CausalLM =>
  openModel(fixture(name)).load({ kind: 'decoder', dtype, mapped: false })

const text = randint(0, 96, [2, 17], { seed: 4 }).persist()
const batch = (): Batch => batchOf({ inputs: text.narrow(1, 0, 16), targets: text.narrow(1, 1, 16) })
const losses = lossesSchema.parse({ balance: { kind: 'mixtral-hf', coefficient: 0.01 }, z: 0 })

/** Two steps of what a selection trains. */
function train(model: CausalLM, selection: readonly string[]): TrainedParameters {
  const trained = new TrainedParameters(model, selection)
  const group = { name: 'all', parameters: new Map(trained.parameters), scale: 1, weightDecay: 0.1 }
  using optimizer = new AdamW([group])
  for (let step = 0; step < 2; step++) {
    const options = {
      losses,
      learningRate: 1e-2,
      clip: 1,
      observe: true,
      pace: trained.adaptsRouters ? 1 : null,
      trained: [...trained.parameters.values()],
    }
    expect(tidy(() => trainStep(model.train(), optimizer, [batch()], options)).updated).toBe(true)
  }
  return trained
}

/** Paths of the tensors that differ between two models, buffers of routers among them. */
function moved(model: CausalLM, before: CausalLM): string[] {
  const others = before.stateDict()
  return [...model.stateDict()].flatMap(([path, tensor]) =>
    tensor.equal(others.get(path) as Tensor) ? [] : path,
  )
}

describe.each(decoders)('%s', name => {
  test.each(['non-moe', 'moe', 'attention', '-router', '-experts'])(
    '%s: the rest stays, bit for bit',
    word => {
      tidy(() => {
        const model = open(name)
        const trained = train(model, [word])
        const changed = moved(model, open(name))
        const parameters = new Set([...model.namedParameters().keys()])
        expect(changed.filter(path => parameters.has(path) && !trained.parameters.has(path))).toEqual([])
        expect(changed.length).toBeGreaterThan(0)
        // Biases that select experts are the router's.
        if (!trained.adaptsRouters) expect(changed.filter(path => !parameters.has(path))).toEqual([])
        trained.dispose()
      })
    },
  )

  test('one expert alone moves, in its slices', () => {
    tidy(() => {
      const model = open(name)
      const layer = model.model.layers.length - 1
      const trained = train(model, [`experts:${layer}.1`])
      const before = open(name).namedParameters()
      for (const [path, parameter] of model.namedParameters()) {
        const whole = before.get(path) as Parameter
        if (!trained.touched.has(path)) expect(parameter.equal(whole)).toBe(true)
        else {
          const same = Array.from({ length: parameter.size(0) }, (_, e) =>
            parameter.select(0, e).equal(whole.select(0, e)),
          )
          expect(same).toEqual(same.map((_, e) => e !== 1))
        }
      }
      trained.dispose()
    })
  })

  test('gradients of everything are those of finite differences in f64', () => {
    tidy(() => {
      const model = open(name, 'f64').eval()
      for (const parameter of model.parameters()) parameter.requiresGrad_(true)
      expectTrueGradients(model, () => computeObjective(model, batch(), losses).total)
    })
  })

  test('with adapters these alone move, and their gradients are those of finite differences', () => {
    tidy(() => {
      const model = open(name, 'f64')
      expectTrueAdapterGradients(model, () => computeObjective(model, batch(), losses).total)
    })
  })
})

test('how much of each part is trained', () => {
  tidy(() => {
    const model = open('olmoe')
    const { parts } = new TrainedParameters(model, ['experts:0.0', 'norms'])
    const of = (role: string): unknown => parts.find(part => part.role === role)
    const experts = [...model.namedParameters()].filter(([path]) => path.includes('experts'))
    const all = experts.reduce((sum, [, { numel }]) => sum + numel, 0)
    const first = experts.filter(([path]) => path.includes('layers.0'))
    const one = first.reduce((sum, [, { numel, shape }]) => sum + numel / (shape[0] ?? 1), 0)
    expect(of('experts')).toEqual({ role: 'experts', parameters: all, trained: one })
    expect(of('attention')).toMatchObject({ trained: 0 })
    expect(of('norm')).toEqual({ role: 'norm', parameters: 32 * 9, trained: 32 * 9 })
  })
})
