import { describe, expect, test } from 'vitest'
import { four, identity, rounded, z } from '../../../tests/support/router-examples.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { manualSeed, noGrad, randn, tensor, tidy } from '../../torch/index.ts'
import { BiasedTopKRouter, countPerExpert } from '../index.ts'

describe('sigmoid scores with a bias', () => {
  const make = (options = {}): BiasedTopKRouter =>
    identity(new BiasedTopKRouter({ ...four, topK: 2, ...options }))

  test('the bias decides who is chosen, never what they weigh', () => {
    const router = make()
    const plain = router.eval().forward(z)
    noGrad(() => router.e_score_correction_bias.copy_(tensor([0, 0, 0, 10])))
    const biased = router.forward(z)
    expect((biased.indices.select(0, 0).tolist() as number[])[0]).toBe(3)
    const [s0, s3] = [1 / (1 + Math.exp(-2)), 1 / (1 + Math.exp(1))]
    expect(rounded(biased.weights.select(0, 0))).toEqual(
      [s3 / (s0 + s3), s0 / (s0 + s3)].map(w => Number(w.toFixed(6))),
    )
    // The same set chosen has the same weights: token 1 chose expert 3 before.
    expectClose(biased.weights.select(0, 1).sort(0)[0], plain.weights.select(0, 1).sort(0)[0], 1e-12)
  })

  test('it moves by the sign of what is missing, over all micro-batches, and only in training', () => {
    const router = make({ topK: 1, biasRate: 0.1 })
    router.forward(z) // experts 0, 3, 1
    router.forward(z.narrow(0, 0, 1)) // expert 0
    router.adapt()
    expect(rounded(router.e_score_correction_bias)).toEqual([-0.1, 0, 0.1, 0])
    router.adapt() // nothing seen since
    router.eval().forward(z)
    router.adapt()
    expect(rounded(router.e_score_correction_bias)).toEqual([-0.1, 0, 0.1, 0])
  })

  test('its step follows the pace of the learning rate', () => {
    const router = make({ topK: 1, biasRate: 0.1 })
    router.forward(z)
    router.adapt(0.25)
    expect(rounded(router.e_score_correction_bias)).toEqual([-0.025, -0.025, 0.025, -0.025])
  })

  test('it balances a skewed router', () => {
    manualSeed(1)
    const router = make({ topK: 1, biasRate: 0.01 })
    const skew = tensor([1.5, 0.5, 0, 0], { dtype: 'f64' })
    const violation = (): number => {
      const load = countPerExpert(router.forward(randn([400, 4], { dtype: 'f64' }).add(skew)))
      return Math.max(...load) / 100 - 1
    }
    const before = violation()
    for (let step = 0; step < 150; step++) {
      tidy(() => void violation())
      router.adapt()
    }
    expect(before).toBeGreaterThan(0.8)
    expect(violation()).toBeLessThan(0.3)
  })

  test('groups: the two best scores of a group decide, and excluded experts lose even against negative scores', () => {
    const router = make({ groups: 2, topGroups: 1, topK: 2 })
    noGrad(() => router.e_score_correction_bias.fill_(-5)) // all selection scores below zero
    for (const row of router.forward(z).indices.tolist() as number[][]) {
      expect(new Set(row.map(e => e >> 1)).size).toBe(1)
    }
    expect(router.forward(z).indices.select(0, 1).tolist()).toEqual([3, 2])
  })

  test.each([
    [{ groups: 3 }, 'router.groups: must divide the 4 experts, got 3'],
    [{ groups: 2, topGroups: 3 }, 'router.topGroups: must be in 1..2'],
    [{ groups: 2, topGroups: 1, topK: 3 }, 'router.k: must be in 1..2'],
  ])('%o is refused', (options, message) => expect(() => make(options)).toThrow(message))

  test('a step that was dropped is not counted; one expert alone is weighed by its score', () => {
    const router = make({ topK: 1 })
    const { weights } = router.forward(z)
    expect(weights.select(0, 0).item()).toBeCloseTo(1 / (1 + Math.exp(-2)), 12)
    router.discard()
    router.adapt()
    expect(router.e_score_correction_bias.abs().sum().item()).toBe(0)
  })
})
