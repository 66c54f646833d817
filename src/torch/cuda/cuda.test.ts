import { describe, expect, test } from 'vitest'
import {
  CopyLane,
  CudaGraph,
  CudaStream,
  cudaDevice,
  cudaMemory,
  limitCudaMemory,
  ones,
  randn,
  runtimeInfo,
  synchronize,
  tidy,
  zeros,
} from '../index.ts'

const isThere = runtimeInfo().cuda

describe.skipIf(isThere)('without CUDA', () => {
  test('each part says in a line what is missing', () => {
    for (const use of [cudaDevice, cudaMemory, () => new CudaStream(), () => new CudaGraph(() => zeros([1]))])
      expect(use).toThrow(/^device: (the addon was built without CUDA|no CUDA device is there)/)
    expect(() => synchronize('cpu')).not.toThrow()
  })
})

describe.skipIf(!isThere)('with CUDA', () => {
  const device = 'cuda'

  test('memory follows tensors', () => {
    const before = cudaMemory().allocated
    const held = zeros([1 << 20], { device })
    expect(cudaMemory().allocated - before).toBe(4 << 20)
    held.dispose()
    expect(cudaMemory().allocated).toBe(before)
    expect(() => limitCudaMemory(2)).toThrow('share: must be above 0 and at most 1, got 2')
  })

  test('a graph computes again from what its inputs hold then', () => {
    const x = ones([4], { device })
    using graph = new CudaGraph(() => x.mul(2).add(1))
    x.fill_(5)
    expect(graph.run().to('cpu').tolist()).toEqual([11, 11, 11, 11])
  })

  test('a graph that would wait for the device is refused in a line', () => {
    const x = ones([4], { device })
    expect(() => new CudaGraph(() => x.mul(x.sum().item()))).toThrow(
      'a graph cannot hold what waits for the device',
    )
    expect(randn([4], { device }).numel).toBe(4) // random numbers are none the worse for it
    using graph = new CudaGraph(() => x.mul(2))
    expect(graph.run().sum().item()).toBe(8)
  })

  test('uploads arrive, beside a computation', () => {
    tidy(() => {
      using lane = new CopyLane({ device, bufferBytes: 1 << 16 })
      const sources = [1, 2, 3].map(seed => randn([100_000], { seed }))
      const uploads = sources.map(source => lane.upload(source))
      for (const [i, upload] of uploads.entries())
        expect(upload.use().add(0).to('cpu').equal(sources[i]!)).toBe(true)
    })
  })

  test('events order streams', () => {
    const side = new CudaStream(device)
    const x = zeros([1 << 22], { device })
    side.follow()
    side.run(() => void x.add_(1))
    const done = side.record()
    done.block()
    expect(x.sum().item()).toBe(1 << 22)
    expect(done.isDone).toBe(true)
  })
})
