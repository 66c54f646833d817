import { describe, expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { cat, ones, randn, tensor, zeros } from '../../torch/index.ts'
import { countPerExpert, GatedExperts, MoeLayer, SoftRouter } from '../index.ts'

describe('soft', () => {
  const router = new SoftRouter({ hiddenSize: 5, numExperts: 3, slots: 2 }).to('f64')
  const x = randn([7, 5], { dtype: 'f64', seed: 1 })
  const layer = new MoeLayer(
    router,
    new GatedExperts({ hiddenSize: 5, numExperts: 3, intermediateSize: 4 }).to('f64'),
  )

  test('slots are means of tokens, outputs means of slots', () => {
    const { dispatch, combine } = router.forward(x)
    expectClose(dispatch.sum(0), ones([3, 2], { dtype: 'f64' }), 1e-12)
    expectClose(combine.sum([1, 2]), ones([7], { dtype: 'f64' }), 1e-12)
  })

  test('it is the loop over slots', () => {
    const { y, routing } = layer.forward(x)
    let wanted = zeros([7, 5], { dtype: 'f64' })
    for (let e = 0; e < 3; e++) {
      for (let p = 0; p < 2; p++) {
        const input = routing.dispatch.select(1, e).select(1, p).matmul(x)
        const output = layer.experts.expert(e, input.unsqueeze(0))
        wanted = wanted.add(routing.combine.select(1, e).select(1, p).unsqueeze(-1).mul(output))
      }
    }
    expectClose(y, wanted, 1e-12)
  })

  test('permuting tokens permutes outputs', () => {
    const order = tensor([3n, 0n, 6n, 1n, 5n, 2n, 4n])
    expectClose(layer.forward(x.indexSelect(0, order)).y, layer.forward(x).y.indexSelect(0, order), 1e-12)
  })

  test('padding neither gives nor gets', () => {
    const padded = cat([x, randn([2, 5], { dtype: 'f64', seed: 9 }).mul(100)])
    const mask = tensor(Array.from({ length: 9 }, (_, t) => t < 7))
    const { y } = layer.forward(padded, { mask })
    expectClose(y.narrow(0, 0, 7), layer.forward(x).y, 1e-12)
    expect(y.narrow(0, 7, 2).abs().sum().item()).toBe(0)
  })

  test('sequences do not mix: a batch equals each alone', () => {
    const [one, other] = [
      randn([1, 4, 5], { dtype: 'f64', seed: 2 }),
      randn([1, 4, 5], { dtype: 'f64', seed: 3 }),
    ]
    const { y, routing } = layer.forward(cat([one, other]))
    expectClose(y.narrow(0, 0, 1), layer.forward(one).y, 1e-12)
    expectClose(y.narrow(0, 1, 1), layer.forward(other).y, 1e-12)
    expect(countPerExpert(routing)).toEqual([4, 4, 4]) // 2 slots in each of 2 sequences
  })

  test('of no token comes nothing', () => {
    expect(layer.forward(zeros([0, 5], { dtype: 'f64' })).y.shape).toEqual([0, 5])
  })
})
