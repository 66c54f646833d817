import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SlowQueue } from '../../../tests/support/slow-queue.ts'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import { CopyLane, randn, type Tensor, tidy, zeros } from '../index.ts'

describe('a copy lane', () => {
  test('property: uploads arrive whole, whatever the sizes of tensors and buffers, on a CPU and on a slow device', () => {
    const cases = fc.record({
      sizes: fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 8 }),
      buffers: fc.integer({ min: 1, max: 4 }),
      bufferBytes: fc.integer({ min: 16, max: 100 }),
      slow: fc.boolean(),
    })
    fc.assert(
      fc.property(cases, ({ sizes, buffers, bufferBytes, slow }) => {
        expectNoLeak(() => {
          const queue = slow ? { queue: new SlowQueue() } : {}
          using lane = new CopyLane({ device: 'cpu', buffers, bufferBytes, ...queue })
          const sources = sizes.map((size, seed) => randn([size], { seed }))
          const uploads = sources.map(source => lane.upload(source))
          for (const [i, upload] of uploads.entries())
            expect(upload.use().equal(sources[i] as Tensor)).toBe(true)
          expect(lane.counts).toMatchObject({
            uploads: sizes.length,
            bytes: 4 * sizes.reduce((sum, size) => sum + size, 0),
          })
        })
      }),
      { numRuns: 100 },
    )
  })

  test('the host waits only when every buffer is on its way, and then for the first', () => {
    const queue = new SlowQueue()
    using lane = new CopyLane({ device: 'cpu', buffers: 2, bufferBytes: 16, queue })
    const source = randn([4], { seed: 1 }) // one buffer
    const [first, second] = [lane.upload(source), lane.upload(source)]
    expect([first.isDone, second.isDone, lane.counts.waits]).toEqual([false, false, 0])
    const third = lane.upload(source)
    expect([first.isDone, second.isDone, third.isDone, lane.counts.waits]).toEqual([true, false, false, 1])
    third.use()
    lane.upload(source)
    expect(lane.counts.waits).toBe(1)
  })

  test('the source may change once upload() has returned, and keeps its shape and type', () => {
    using lane = new CopyLane({ device: 'cpu', queue: new SlowQueue() })
    tidy(() => {
      const source = randn([3, 4], { seed: 1 }).to('bf16').t()
      const before = source.clone()
      const upload = lane.upload(source)
      source.zero_()
      expect(upload.use().equal(before)).toBe(true)
      expect([upload.tensor.shape, upload.tensor.dtype]).toEqual([[4, 3], 'bf16'])
    })
  })

  test('memory that is there is filled again once what read it is computed', () => {
    const queue = new SlowQueue()
    using lane = new CopyLane({ device: 'cpu', bufferBytes: 16, queue })
    const [first, second] = [randn([3, 4], { seed: 1 }), randn([3, 4], { seed: 2 })]
    const target = zeros([2, 3, 4]).select(0, 1)
    lane.refill(target, first, null).block()
    expect(target.equal(first)).toBe(true)
    const read = lane.computed()
    const mark = lane.refill(target, second, read)
    expect(queue.followed).toEqual([read])
    expect([mark.isDone, target.equal(second)]).toEqual([false, false])
    mark.block()
    expect(target.equal(second)).toBe(true)
    expect(lane.counts).toMatchObject({ uploads: 2, bytes: 2 * 48 })
  })

  test.each([{ buffers: 0 }, { bufferBytes: 1 }, { buffers: 1.5 }])('%j is refused', options => {
    expect(() => new CopyLane({ device: 'cpu', ...options })).toThrow('copyLane: needs whole buffers')
  })
})
