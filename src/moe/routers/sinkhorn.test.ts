import { describe, expect, test } from 'vitest'
import { four, identity, rounded, z } from '../../../tests/support/router-examples.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { cat, randn, tensor } from '../../torch/index.ts'
import { countPerExpert, SinkhornRouter, sinkhorn, type TokenRouting } from '../index.ts'

describe('Sinkhorn', () => {
  test('a worked example', () => {
    const plan = sinkhorn(z, { tolerance: 1e-9 }).exp()
    expect(rounded(plan.select(0, 0))).toEqual([0.187645, 0.079747, 0.057781, 0.008161])
  })

  test('rows sum to 1/T, columns to 1/E, whatever is added to a row or a column', () => {
    const plan = sinkhorn(z, { tolerance: 1e-10 }).exp()
    expectClose(plan.sum(1), tensor([1, 1, 1]).div(3), 1e-8)
    expectClose(plan.sum(0), tensor([1, 1, 1, 1]).div(4), 1e-8)
    const moved = z.add(tensor([[5], [-7], [100]])).add(tensor([1, -2, 3, 400]))
    expectClose(sinkhorn(moved, { tolerance: 1e-10 }).exp(), plan, 1e-7)
  })

  test('balances in training', () => {
    const skewed = randn([400, 4], { dtype: 'f64', seed: 1 }).add(tensor([2, 0, 0, 0], { dtype: 'f64' }))
    const router = identity(new SinkhornRouter({ ...four, topK: 1 }))
    const worst = (routing: TokenRouting): number => Math.max(...countPerExpert(routing)) / 100
    expect(worst(router.eval().forward(skewed))).toBeGreaterThan(2.5)
    expect(worst(router.train().forward(skewed))).toBeLessThan(1.25)
  })

  test('padding takes no part', () => {
    const router = identity(new SinkhornRouter({ ...four, topK: 2 }))
    const real = randn([20, 4], { dtype: 'f64', seed: 1 }).add(tensor([2, 0, 0, 0], { dtype: 'f64' }))
    const padded = cat([real, randn([9, 4], { dtype: 'f64', seed: 2 }).mul(50)])
    const mask = tensor(Array.from({ length: 29 }, (_, t) => t < 20))
    const { indices } = router.train().forward(padded, { mask })
    expect(indices.narrow(0, 0, 20).tolist()).toEqual(router.forward(real).indices.tolist())
  })
})
