import { expect, test } from 'vitest'
import { Linear } from '../nn/index.ts'
import {
  autocast,
  DisposedTensorError,
  emptyCache,
  fullPrecision,
  Generator,
  grad,
  limitCache,
  memoryUse,
  noGrad,
  ones,
  randn,
  type Tensor,
  TorchError,
  tensor,
  tidy,
  zeros,
} from './index.ts'

const live = (): number => memoryUse().tensors

test('disposing handles in the middle of a graph leaves backward intact', () => {
  const x = tensor([1, 2, 3], { requiresGrad: true })
  const squared = x.mul(x)
  const doubled = squared.mul(2)
  const loss = doubled.sum()
  squared.dispose()
  doubled.dispose()
  loss.backward()
  expect(x.grad?.tolist()).toEqual([4, 8, 12])
})

test('tidy frees what was made inside and keeps what it returns', () => {
  const before = live()
  const kept = tidy(() => {
    const a = ones([2])
    const b = a.add(1)
    return { list: [b.mul(2)], map: new Map([['c', b.mul(3)]]) }
  })
  expect(live()).toBe(before + 2)
  expect(kept.list[0]?.tolist()).toEqual([4, 4])
  expect(kept.map.get('c')?.tolist()).toEqual([6, 6])
})

test('a tensor kept by an inner tidy belongs to the outer one', () => {
  const before = live()
  const result = tidy(() => {
    const inner = tidy(() => ones([2]).add(1))
    expect(live()).toBe(before + 1)
    return inner.sum().item()
  })
  expect(result).toBe(4)
  expect(live()).toBe(before)
})

test('an exception inside tidy frees everything and passes through', () => {
  const before = live()
  expect(() =>
    tidy(() => {
      tidy(() => ones([2]))
      ones([3])
      throw new Error('mine')
    }),
  ).toThrow('mine')
  expect(live()).toBe(before)
  expect(memoryUse().scopes).toBe(0)
})

test('tidy refuses an async function, and frees what it made', async () => {
  const before = live()
  expect(() => tidy(async () => ones([2]))).toThrow('tidy() got an async function')
  expect(() => tidy(() => Promise.reject(new Error('later')))).toThrow(TorchError)
  await new Promise(setImmediate) // an unhandled rejection would fail the run
  expect(live()).toBe(before)
  expect(memoryUse().scopes).toBe(0)
})

test('noGrad refuses an async function, and restores the mode', () => {
  const x = ones([1], { requiresGrad: true })
  expect(() => noGrad(async () => {})).toThrow('noGrad() got an async function')
  expect(x.mul(2).requiresGrad).toBe(true)
})

test('a persisted tensor outlives its scope until it is disposed', () => {
  const before = live()
  let held: Tensor | undefined
  tidy(() => {
    held = ones([2]).persist()
  })
  expect(live()).toBe(before + 1)
  expect(held?.tolist()).toEqual([1, 1])
  held?.dispose()
  held?.dispose()
  expect(live()).toBe(before)
})

test('using a disposed tensor says so, even after another tensor took its place', () => {
  const gone = ones([2])
  gone.dispose()
  const other = zeros([2])
  expect(() => gone.add(other)).toThrow(DisposedTensorError)
  expect(() => gone.shape).toThrow(DisposedTensorError)
  expect(gone.isDisposed).toBe(true)
  expect(String(gone)).toBe('Tensor(disposed)')
})

test('10,000 training-like steps leak neither handles nor bytes', () => {
  const weight = ones([16, 16], { requiresGrad: true })
  const x = ones([4, 16])
  const step = (): void =>
    tidy(() => {
      const [values] = x.matmul(weight).softmax(-1).max(-1)
      values.sum().backward()
      noGrad(() => weight.sub_(weight.grad ?? weight, 0.01))
      weight.grad = null
    })
  step()
  const { tensors, bytes } = memoryUse()
  for (let i = 0; i < 10_000; i++) step()
  expect(memoryUse().tensors).toBe(tensors)
  expect(memoryUse().bytes).toBe(bytes)
})

test('the garbage collector frees tensors made outside of any scope', async () => {
  const before = live()
  for (let i = 0; i < 100; i++) ones([4])
  expect(live()).toBe(before + 100)
  // Collected objects are reported between turns of the event loop.
  for (let i = 0; i < 20 && live() > before; i++) {
    globalThis.gc?.()
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  expect(live()).toBeLessThanOrEqual(before)
})

test('noGrad stops recording and restores the mode after an exception', () => {
  const x = ones([1], { requiresGrad: true })
  expect(noGrad(() => x.mul(2)).requiresGrad).toBe(false)
  expect(() =>
    noGrad(() => {
      throw new Error('mine')
    }),
  ).toThrow('mine')
  expect(x.mul(2).requiresGrad).toBe(true)
})

test('autocast computes products in half precision and restores the mode', () => {
  const x = ones([2, 2])
  expect(autocast('cpu', 'bf16', () => x.matmul(x)).dtype).toBe('bf16')
  expect(() =>
    autocast('cpu', 'bf16', () => {
      throw new Error('mine')
    }),
  ).toThrow('mine')
  expect(x.matmul(x).dtype).toBe('f32')
})

test('fullPrecision switches autocast off inside, and restores the dtype of the region around', () => {
  const x = ones([2, 2])
  const dtypes = autocast('cpu', 'bf16', () => [
    fullPrecision('cpu', () => x.matmul(x)).dtype,
    autocast('cpu', 'bf16', () => x.matmul(x)).dtype,
    x.matmul(x).dtype,
  ])
  expect(dtypes).toEqual(['f32', 'bf16', 'bf16'])
})

test('grad gives gradients and leaves those of the leaves alone', () => {
  const before = live()
  tidy(() => {
    const x = tensor([3], { requiresGrad: true })
    const other = ones([1], { requiresGrad: true })
    const [slope, none] = grad(x.pow(3).sum(), [x, other], { createGraph: true }) // 3 x^2
    expect([slope?.item(), none, x.grad]).toEqual([27, null, null])
    const [curvature] = grad(slope as Tensor, [x], { weight: tensor([2]) }) // 2 * 6 x
    expect(curvature?.item()).toBe(36)
    expect(() => grad(slope as Tensor, [x])).toThrow('second time')
    expect(() => grad(ones([1]), [x])).toThrow('does not require grad')
  })
  expect(live()).toBe(before)
})

test('createGraph keeps the graph, so that gradients have gradients', () => {
  const x = tensor([3], { requiresGrad: true })
  x.pow(3).backward(null, { createGraph: true })
  const slope = x.grad as Tensor // 3 x^2
  x.grad = null
  slope.backward()
  const curvature = x.grad as Tensor | null
  expect(curvature?.item()).toBe(18) // 6 x
  x.grad = null
})

test('a gradient of another shape or dtype is refused', () => {
  const x = ones([2], { requiresGrad: true })
  expect(() => {
    x.grad = ones([3])
  }).toThrow('a gradient of f32[2] cannot be f32[3]')
  expect(() => {
    x.grad = ones([2], { dtype: 'f64' })
  }).toThrow('a gradient of f32[2] cannot be f64[2]')
})

test('a module made outside of any scope frees its memory when it is disposed', () => {
  const { bytes } = memoryUse()
  new Linear(512, 512).dispose()
  expect(memoryUse().bytes).toBe(bytes)
})

// ASan keeps what was freed for a while.
test.skipIf(process.env.ASAN_OPTIONS)('a generator gives its state back: 20,000 of them are 50 MB', () => {
  const resident = (): number => {
    global.gc?.()
    return process.memoryUsage.rss()
  }
  const make = (count: number): void => {
    for (let seed = 0; seed < count; seed++) {
      using _ = Generator.seeded(seed)
    }
  }
  make(5000)
  const before = resident()
  make(20_000)
  expect(resident() - before).toBeLessThan(10e6)
})

test('a disposed generator is an error, and never another one', () => {
  const first = Generator.seeded(1)
  first.dispose()
  first.dispose()
  const second = Generator.seeded(2)
  expect(() => randn([1], { generator: first })).toThrow('must be a Generator that is not disposed')
  expect(() => first.seed(3)).toThrow('the generator was disposed')
  expect(randn([2], { generator: second }).tolist()).toEqual(randn([2], { seed: 2 }).tolist())
})

test('blocks are kept for the next tensor of their size, and given back when asked', () => {
  const large = (): void => zeros([300_000]).dispose()
  emptyCache()
  large()
  expect(memoryUse().cachedBytes).toBeGreaterThanOrEqual(1_200_000)
  const { cachedBytes, bytes } = memoryUse()
  for (let i = 0; i < 10; i++) large()
  expect(memoryUse()).toMatchObject({ cachedBytes, bytes })
  emptyCache()
  expect(memoryUse().cachedBytes).toBe(0)
})

test('of several limits on what is kept the lowest holds, until it is lifted', () => {
  /** Bytes kept of 32 MB that were in use. */
  const kept = (): number => {
    emptyCache()
    tidy(() => void [1, 2, 3, 4].map(() => zeros([2 ** 21])))
    return memoryUse().cachedBytes
  }
  const megabyte = 2 ** 20
  expect(kept()).toBeGreaterThan(8 * megabyte)
  const [low, high] = [limitCache(4 * megabyte), limitCache(16 * megabyte)]
  expect(kept()).toBeLessThanOrEqual(4 * megabyte)
  low[Symbol.dispose]()
  low[Symbol.dispose]() // once is enough: it is not the other one that is lifted
  expect(kept()).toBe(16 * megabyte)
  high[Symbol.dispose]()
  expect(kept()).toBeGreaterThan(8 * megabyte)
})
