import { describe, expect, test } from 'vitest'
import { expectTrueGradients } from '../../tests/support/gradients.ts'
import { expectNoLeak } from '../../tests/support/tensors.ts'
import { arange, manualSeed, noGrad, type Tensor, tidy } from '../torch/index.ts'
import { LstmMixture, type LstmMixtureOptions } from './lstm-mixture.ts'

const sizes = { vocabSize: 11, hiddenSize: 6, intermediateSize: 5, numExperts: 8 }

function make(options: Partial<LstmMixtureOptions> = {}): LstmMixture {
  manualSeed(3)
  const model = new LstmMixture({ ...sizes, ...options })
  noGrad(() => {
    for (const parameter of model.moe.gate.parameters()) parameter.normal_(0, 1) // they start at zero: all experts tie
  })
  return model
}

const texts = (count: number, length: number): Tensor =>
  arange(0, count * length, 1, { dtype: 'i64' })
    .mul(7)
    .remainder(11)
    .view([count, length])

describe.each([
  ['one gate', {}, 4],
  ['a gate of gates', { groups: 4 }, 4],
  ['a gate of gates that choose one', { groups: 4, topK: 1 }, 1],
] as const)('a recurrent model with %s', (_, options, active) => {
  test('gives each token its experts, and goes on where a text was left', () =>
    noGrad(() =>
      tidy(() => {
        const model = make(options).to('f64').eval()
        const ids = texts(2, 6)
        const whole = model.forward(ids)
        expect(whole.logits.shape).toEqual([2, 6, 11])
        expect(whole.routing.indices.shape).toEqual([12, active])
        const [before, after] = ids.split(4, 1) as [Tensor, Tensor]
        const { state } = model.forward(before)
        const apart = model.forward(after, state).logits.sub(whole.logits.narrow(1, 4, 2))
        expect(apart.abs().max().item()).toBeLessThan(1e-13) // sums of other lengths
      }),
    ))

  test('has the gradients of finite differences', () =>
    tidy(() => {
      const model = make(options).to('f64').eval()
      const ids = texts(2, 6)
      const loss = (): Tensor => model.forward(ids).logits.square().mean()
      // Noise is of training alone.
      expectTrueGradients(model, loss, path => !path.includes('noise'))
    }))
})

test('its gates lose what the paper balances them by, noise is learnt, and nothing stays behind', () => {
  const model = make({ dropout: 0.3 })
  expectNoLeak(() =>
    tidy(() => {
      const { routing } = model.forward(texts(4, 6))
      const { importance, load } = routing.losses as Record<string, Tensor>
      load?.add(importance as Tensor).backward()
      expect(model.moe.gate.noise_weight.grad?.abs().max().item()).toBeGreaterThan(0)
      model.zeroGrad()
    }),
  )
})

test('sizes that cannot be are refused', () => {
  expect(() => make({ topK: 9 })).toThrow('k')
  expect(() => make({ groups: 3 })).toThrow('router.groups: must divide the 8 experts, got 3')
  expect(() => make({ dropout: 1 })).toThrow('dropout')
})
