import { describe, expect, test } from 'vitest'
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
})
