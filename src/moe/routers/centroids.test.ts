import { describe, expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { manualSeed, noGrad, randint, randn, type Tensor, tensor, tidy } from '../../torch/index.ts'
import { CentroidRouter, sphericalKMeans } from '../index.ts'

describe('centroids', () => {
  const blobs = (count: number, seed: number): { points: Tensor; labels: number[] } => {
    const centres = tensor([
      [5, 0, 0],
      [0, 5, 0],
      [0, 0, 5],
    ])
    const labels = randint(0, 3, [count], { seed })
    return {
      points: centres.indexSelect(0, labels).add(randn([count, 3], { seed }).mul(0.3)),
      labels: labels.tolist() as number[],
    }
  }
  /** Whether experts and labels are the same partition. */
  const isSamePartition = (experts: number[], labels: number[]): boolean =>
    new Set(labels.map((label, i) => `${label} ${experts[i]}`)).size === new Set(labels).size

  test('Lloyd: the objective never falls, and separate blobs are found', () => {
    const { points, labels } = blobs(90, 1)
    const { centroids, objective } = sphericalKMeans(points, 3)
    for (let i = 1; i < objective.length; i++)
      expect(objective[i]).toBeGreaterThanOrEqual((objective[i - 1] ?? 0) - 1e-6)
    expect(isSamePartition(points.matmul(centroids.t()).argmax(-1).tolist() as number[], labels)).toBe(true)
  })

  test('online: centres move to their blobs, and an idle one is sown anew', () => {
    manualSeed(3)
    const router = new CentroidRouter({ hiddenSize: 3, numExperts: 3, momentum: 0.8, patience: 5 })
    noGrad(() =>
      router.centroids.copy_(
        tensor([
          [1, 0, 0],
          [-1, 0, 0],
          [0, -1, 0],
        ]),
      ),
    ) // two that nothing is near
    for (let step = 0; step < 60; step++) {
      tidy(() => void router.forward(blobs(60, step).points))
      router.adapt()
    }
    const { points, labels } = blobs(90, 999)
    const { indices } = router.eval().forward(points)
    expect(isSamePartition(indices.squeeze(-1).tolist() as number[], labels)).toBe(true)
  })

  test('centres that are lost together are sown apart', () => {
    const router = new CentroidRouter({ hiddenSize: 3, numExperts: 3, patience: 1 })
    noGrad(() =>
      router.centroids.copy_(
        tensor([
          [1, 0, 0],
          [-1, 0, 0],
          [-1, 0, 0],
        ]),
      ),
    )
    for (let step = 0; step < 2; step++) {
      router.forward(
        tensor([
          [1, 0, 0],
          [0, 1, 0.1],
          [0, 0.1, 1],
        ]),
      )
      router.adapt()
    }
    const [, second, third] = router.centroids.tolist() as number[][]
    expect(second).not.toEqual(third)
  })

  test('a step that was dropped leaves nothing', () => {
    const router = new CentroidRouter({ hiddenSize: 3, numExperts: 2 })
    const before = router.centroids.tolist()
    router.forward(tensor([[Number.NaN, 0, 0]]))
    router.discard()
    router.adapt()
    expect(router.centroids.tolist()).toEqual(before)
  })

  describe('one step', () => {
    const along = (...rows: number[][]): Tensor => tensor(rows, { dtype: 'f64' })
    /** One expert, whose centre is (1, 0). */
    const single = (momentum: number, options = {}): CentroidRouter => {
      const router = new CentroidRouter({ hiddenSize: 2, numExperts: 1, momentum, ...options }).to('f64')
      noGrad(() => router.centroids.copy_(along([1, 0])))
      return router
    }
    const root10 = Math.sqrt(10)
    const fewRoundings = 2 ** -22 // centres are f32, of length 1: four roundings of 2^-24

    test('a centre keeps the share `momentum` of itself', () => {
      const router = single(0.75)
      router.forward(along([0, 5]))
      router.adapt()
      expectClose(router.centroids, along([3 / root10, 1 / root10]), fewRoundings) // unit of (0.75, 0.25)
    })

    test('at momentum 1 it stays, at 0 it is where its tokens are', () => {
      for (const [momentum, wanted] of [
        [1, [1, 0]],
        [0, [0, 1]],
      ] as const) {
        const router = single(momentum)
        router.forward(along([0, 5]))
        router.adapt()
        expectClose(router.centroids, along([...wanted]), fewRoundings)
      }
    })

    test('tokens count the same whatever their length, over all micro-batches, without padding', () => {
      const router = single(0)
      router.forward(along([0, 7], [-9, 0]), { mask: tensor([true, false]) })
      router.forward(along([2, 0]))
      router.adapt()
      expectClose(router.centroids, along([Math.SQRT1_2, Math.SQRT1_2]), fewRoundings)
    })

    test('evaluation moves nothing', () => {
      const router = single(0).eval()
      router.forward(along([0, 5]))
      router.adapt()
      expectClose(router.centroids, along([1, 0]), 0)
    })

    test('a centre without tokens is sown anew only when its patience is over', () => {
      const router = new CentroidRouter({ hiddenSize: 2, numExperts: 2, patience: 2 }).to('f64')
      const centres = along([1, 0], [-1, 0])
      noGrad(() => router.centroids.copy_(centres))
      for (const wanted of [centres, centres, along([1, 0], [0.6, 0.8])]) {
        router.forward(along([1, 0], [1, 0], [0.6, 0.8]))
        router.adapt()
        expectClose(router.centroids.select(0, 1), wanted.select(0, 1), fewRoundings)
      }
    })
  })

  test('gated, an expert weighs the sigmoid of the cosine; else 1', () => {
    for (const [gated, wanted] of [
      [true, 1 / (1 + Math.exp(-0.6))],
      [false, 1],
    ] as const) {
      const router = new CentroidRouter({ hiddenSize: 2, numExperts: 2, gated }).to('f64')
      const centres = [
        [-1, 0],
        [1, 0],
      ]
      noGrad(() => router.centroids.copy_(tensor(centres, { dtype: 'f64' })))
      const { indices, weights } = router.forward(tensor([[3, 4]], { dtype: 'f64' })) // cosine 0.6
      expect(indices.tolist()).toEqual([[1]])
      expect(weights.item()).toBeCloseTo(wanted, 6)
    }
  })
})
