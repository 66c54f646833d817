// What caches keep of keys and values in less than their numbers: bytes, what is left of them, and attention over it.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import {
  arange,
  cat,
  inferenceMode,
  manualSeed,
  randn,
  type Tensor,
  tidy,
  withKernels,
} from '../../torch/index.ts'
import {
  type CacheShape,
  type CachingModel,
  ContiguousCache,
  type KvType,
  kvBytes,
  kvFormOf,
  kvTypeFor,
  LatentAttention,
  type LatentForm,
  plainFrequencies,
  rotation,
} from '../index.ts'

const encodings = ['f16', 'q8_0'] as const
const modelOf = (shape: CacheShape): CachingModel => ({ cacheShapes: [shape], dtype: 'f32', device: 'cpu' })

describe.each(encodings)('%s', kv => {
  const form = kvFormOf(kv)

  test('property: every head keeps its numbers but for half a step, and its bytes are those that are told', () => {
    const sizes = fc.record({
      rows: fc.nat(5),
      heads: fc.integer({ min: 1, max: 3 }),
      width: fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(64, 128)),
    })
    fc.assert(
      fc.property(sizes, ({ rows, heads, width }) =>
        tidy(() => {
          // Heads of very different sizes: none may lend another its scale.
          const sizesOfHeads = arange(0, heads).mul(3).exp().view([1, heads, 1])
          const numbers = randn([rows, heads, width]).mul(sizesOfHeads)
          const kept = form.encode(numbers.flatten(1), width)
          expect(kept.shape).toEqual([rows, heads * form.elements(width)])
          expect(kept.shape[1]! * form.bytes).toBe(kvBytes({ keys: [heads, width], values: null }, kv))
          if (rows === 0) return
          const left = form.decode(kept.view([rows, heads, -1]), width, 'f32')
          const largest = numbers.abs().amax([-1], true)
          // Half of 1/127, and the f16 scale's 2^-11; a half's own 2^-11. Numbers below 2^-14 have no more than 2^-25 of f16.
          const share = kv === 'q8_0' ? (0.5 + 127 * 2 ** -11) / 127 : 2 ** -11
          const excess = left
            .sub(numbers)
            .abs()
            .sub(largest.mul(share * 1.0001))
            .amax()
            .item() as number
          expect(excess).toBeLessThanOrEqual(2 ** -24 * 127)
        }),
      ),
      { numRuns: 60 },
    )
  })

  // Means of numbers of order one, from scores of tens of terms of order one in another order.
  const tolerance = 1e-5
  const parts = [
    [4, 5],
    [8, 1],
    [1, 1, 1, 1, 1, 1, 1, 1, 1],
  ]

  test('however tokens are read, and by kernel or without: the same', () => {
    inferenceMode(() =>
      expectNoLeak(() => {
        const [heads, width] = [2, 40] // whose last block is not full
        const shape = { keys: [heads, width], values: [heads, 24] } as const
        const draws = {
          queries: randn([9, 4 * width]),
          keys: randn([9, 2 * width]),
          values: randn([9, 2 * 24]),
        }
        const read = (lengths: readonly number[], type: KvType = kv): Tensor =>
          inParts(shape, draws, lengths, { kv: type, headDim: width, window: 6 })
        const whole = read([9])
        for (const lengths of parts) {
          expectClose(read(lengths), whole, tolerance)
          expectClose(
            withKernels([], () => read(lengths)),
            whole,
            tolerance,
          )
        }
        // It is not the same as over what was not rounded.
        expect(read([9], 'f32').sub(whole).abs().max().item()).toBeGreaterThan(tolerance)
      }),
    )
  })

  test('the first latent rows are seen as later tokens see them', () => {
    const sizes = { hiddenSize: 10, numHeads: 2, keyValueRank: 37, plainDim: 4, rotaryDim: 2, valueDim: 3 }
    manualSeed(2)
    using latent = new LatentAttention({ ...sizes, queryRank: null })
    inferenceMode(() =>
      tidy(() => {
        const draws = { queries: randn([9, 2 * 6]), keys: randn([9, 37 + 2]), values: null }
        const read = (lengths: readonly number[], type: KvType = kv): Tensor =>
          inParts(latent.cacheShape, draws, lengths, { kv: type, headDim: 6, window: null, latent })
        const whole = read([9])
        for (const lengths of parts) expectClose(read(lengths), whole, tolerance)
        expect(read([9], 'f32').sub(whole).abs().max().item()).toBeGreaterThan(tolerance)
      }),
    )
  })
})

interface Draws {
  queries: Tensor
  keys: Tensor
  values: Tensor | null
}

interface PartsOptions {
  kv: KvType
  headDim: number
  window: number | null
  latent?: LatentForm | null
}

/** Attention of tokens read in parts, of which each follows the last one in a cache. */
function inParts(
  shape: CacheShape,
  { queries, keys, values }: Draws,
  lengths: readonly number[],
  { kv, headDim, window, latent = null }: PartsOptions,
): Tensor {
  using cache = new ContiguousCache(modelOf(shape), { capacity: queries.size(0), kv })
  let start = 0
  const mixed = lengths.map(length => {
    const part = (x: Tensor): Tensor => x.narrow(0, start, length)
    const angles = rotation(arange(start, start + length), plainFrequencies(headDim, 100))
    const y = cache.layers[0]!.attend(part(queries), part(keys), values && part(values), {
      ...{ starts: [0, length], headDim, scale: headDim ** -0.5, window, latent },
      ...{ isCausal: true, rotation: latent ? null : angles, sinks: null, bias: null },
    })
    cache.advance([0, length])
    start += length
    return y
  })
  return cat(mixed)
}

test('a token takes 34 bytes for 32 numbers in q8_0, 2 for each in f16, 4 in f32', () => {
  const shape = { keys: [8, 64], values: [8, 128] } as const
  const values = 8 * 64 + 8 * 128
  expect(kvBytes(shape, 'q8_0')).toBe((values * 34) / 32)
  expect(kvBytes(shape, 'f16')).toBe(values * 2)
  expect(kvBytes(shape, 'f32')).toBe(values * 4)
  const bytesOf = (kv: KvType): number => {
    using cache = new ContiguousCache(modelOf(shape), { sequences: 2, capacity: 10, kv })
    const { keys, values } = cache.rowsOfLayer(0)
    return (keys.numel + values.numel) * kvFormOf(kv).bytes
  }
  for (const kv of ['q8_0', 'f16', 'f32'] as const) expect(bytesOf(kv)).toBe(20 * kvBytes(shape, kv))
  // DeepSeek-V3's: a latent row of 512 and 64.
  expect(kvBytes({ keys: [1, 576], values: null }, 'q8_0')).toBe(612)
})

test('other types than the model computes in are for f32 on a CPU', () => {
  const f32 = { dtype: 'f32', device: 'cpu' } as const
  expect(kvTypeFor(f32)).toBe('f32')
  expect(kvTypeFor(f32, 'q8_0')).toBe('q8_0')
  expect(kvTypeFor({ dtype: 'bf16', device: 'cuda' })).toBe('bf16')
  expect(kvTypeFor({ dtype: 'f16', device: 'cuda' }, 'f16')).toBe('f16')
  expect(() => kvTypeFor({ dtype: 'f32', device: 'cuda:1' }, 'q8_0')).toThrow(
    'kv: q8_0 is not for a model that computes in f32 on cuda:1: leave it out',
  )
  expect(() => kvTypeFor({ dtype: 'f64', device: 'cpu' }, 'f16')).toThrow('computes in f64 on cpu')
  expect(() => kvTypeFor(f32, 'bf16')).toThrow('kv: bf16 is not for')
})
