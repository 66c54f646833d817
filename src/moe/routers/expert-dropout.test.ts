import { describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import { Generator, manualSeed, randn, type Tensor, tidy, zeros } from '../../torch/index.ts'
import { dropExperts, TopKRouter } from '../index.ts'

/** Which experts of [T, E] logits are at -inf, from one row. */
const dropped = (logits: Tensor): boolean[] => (logits.select(0, 0).isinf().tolist() as number[]).map(Boolean)

describe('dropping experts', () => {
  test('takes an expert from every token or from none, and leaves the other logits as they are', () => {
    expectNoLeak(() => {
      manualSeed(2)
      const logits = randn([20, 8], { seed: 1 })
      const masked = dropExperts(logits, { rate: 0.5, atLeast: 2 })
      const [before, after] = [logits.t().tolist(), masked.t().tolist()] as [number[][], number[][]]
      const gone = dropped(masked)
      expect(new Set(gone)).toEqual(new Set([true, false]))
      for (const [e, column] of after.entries()) {
        expect(column).toEqual(gone[e] ? column.map(() => -Infinity) : before[e])
      }
    })
  })

  test('drops at its rate', () => {
    tidy(() => {
      manualSeed(3)
      const masked = dropExperts(zeros([1, 10_000]), { rate: 0.3, atLeast: 1 })
      const share = dropped(masked).filter(Boolean).length / 10_000
      // A standard error of sqrt(.3 * .7 / 10,000) = 0.0046, five of them.
      expect(Math.abs(share - 0.3)).toBeLessThan(0.023)
    })
  })

  test('leaves at least as many as asked for, whatever the rate', () => {
    tidy(() => {
      for (let atLeast = 1; atLeast <= 5; atLeast++) {
        for (let seed = 0; seed < 20; seed++) {
          manualSeed(seed)
          const gone = dropped(dropExperts(zeros([3, 5]), { rate: 0.99, atLeast }))
          expect(gone.filter(one => !one).length).toBeGreaterThanOrEqual(atLeast)
        }
      }
    })
  })

  test('gives the dropped experts no probability and no gradient', () => {
    manualSeed(2)
    const logits = randn([6, 8], { dtype: 'f64', seed: 1, requiresGrad: true })
    const masked = dropExperts(logits, { rate: 0.5, atLeast: 2 })
    const probs = masked.softmax(-1)
    probs.square().sum().backward()
    const columns = (t: Tensor): boolean[] => (t.abs().sum(0).tolist() as number[]).map(sum => sum === 0)
    expect(columns(probs.detach())).toEqual(dropped(masked))
    expect(columns(logits.grad!)).toEqual(dropped(masked))
  })

  test('repeats with a generator of the same seed', () => {
    const draw = (): boolean[] => {
      using generator = Generator.seeded(5)
      return dropped(dropExperts(zeros([1, 50]), { rate: 0.5, atLeast: 1, generator }))
    }
    expect(draw()).toEqual(draw())
  })

  test('at rate 0 is nothing', () => {
    const logits = randn([2, 3])
    expect(dropExperts(logits, { rate: 0, atLeast: 1 })).toBe(logits)
  })

  test('works on no tokens and on one expert', () => {
    expect(dropExperts(zeros([0, 4]), { rate: 0.5, atLeast: 1 }).shape).toEqual([0, 4])
    expect(dropped(dropExperts(zeros([2, 1]), { rate: 0.9, atLeast: 1 }))).toEqual([false])
  })

  test('refuses what cannot be', () => {
    const logits = zeros([2, 3])
    expect(() => dropExperts(logits, { rate: 1, atLeast: 1 })).toThrow(
      'router.expertDropout: must be at least 0 and below 1, got 1',
    )
    expect(() => dropExperts(logits, { rate: 0.5, atLeast: 4 })).toThrow(
      'router.expertDropout.atLeast: must be in 1..3 (the number of experts), got 4',
    )
  })
})

describe('the expertDropout of a top-k router', () => {
  const x = randn([20, 6], { seed: 1 })
  const make = (expertDropout: number): TopKRouter => {
    manualSeed(1)
    return new TopKRouter({ hiddenSize: 6, numExperts: 8, topK: 2, expertDropout })
  }

  test('leaves experts out in training, none in evaluation', () => {
    const router = make(0.5)
    const used = (): number => new Set((router.forward(x).indices.tolist() as number[][]).flat()).size
    const all = router.eval() && used()
    manualSeed(2)
    expect(router.train() && used()).toBeLessThan(all)
    manualSeed(2)
    expect(router.forward(x).probs.lt(1e-30).any().item()).toBe(1) // the kernel's exp of -inf is not quite 0
    expect(router.forward(x).logits.isfinite().all().item()).toBe(1)
  })

  test('of 0 draws nothing', () => {
    const router = make(0).train()
    manualSeed(3)
    router.forward(x)
    const after = randn([1]).item()
    manualSeed(3)
    expect(randn([1]).item()).toBe(after)
  })
})
