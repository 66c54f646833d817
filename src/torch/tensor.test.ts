import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  arange,
  cat,
  crossEntropyLoss,
  type DType,
  fromTypedArray,
  Generator,
  manualSeed,
  ones,
  randint,
  randn,
  stack,
  type Tensor,
  tensor,
  where,
  zeros,
} from './index.ts'

const matrix = (): Tensor =>
  tensor([
    [1, 2, 3],
    [4, 5, 6],
  ])

test('arithmetic broadcasts and mixes tensors with numbers', () => {
  expect(
    matrix()
      .add(tensor([10, 20, 30]))
      .tolist(),
  ).toEqual([
    [11, 22, 33],
    [14, 25, 36],
  ])
  expect(matrix().mul(2).sub(1).tolist()).toEqual([
    [1, 3, 5],
    [7, 9, 11],
  ])
  expect(matrix().rsub(10).tolist()).toEqual([
    [9, 8, 7],
    [6, 5, 4],
  ])
  expect(
    matrix()
      .div(tensor([[1], [2]]))
      .tolist(),
  ).toEqual([
    [1, 2, 3],
    [2, 2.5, 3],
  ])
  expect(tensor([2, 3]).pow(2).tolist()).toEqual([4, 9])
})

test('comparison and logic give booleans', () => {
  const above = matrix().gt(3)
  expect(above.dtype).toBe('bool')
  expect(above.logicalNot().logicalOr(matrix().eq(6)).tolist()).toEqual([
    [1, 1, 1],
    [0, 0, 1],
  ])
  expect(matrix().equal(matrix())).toBe(true)
})

test('reductions take one, several or all dimensions', () => {
  expect(matrix().sum().item()).toBe(21)
  expect(matrix().sum(0).tolist()).toEqual([5, 7, 9])
  expect(matrix().mean([0, 1], true).shape).toEqual([1, 1])
  expect(matrix().max().item()).toBe(6)
  const [values, indices] = matrix().max(1)
  expect([values.tolist(), indices.tolist()]).toEqual([
    [3, 6],
    [2, 2],
  ])
  expect(matrix().argmax(1).dtype).toBe('i64')
  expect(matrix().cumsum(1).tolist()).toEqual([
    [1, 3, 6],
    [4, 9, 15],
  ])
  expect(matrix().std(null, 0).item()).toBeCloseTo(Math.sqrt(35 / 12), 6)
})

test('indexing: select, slice, gather, scatter, index and masks', () => {
  const x = matrix()
  expect(x.select(0, 1).tolist()).toEqual([4, 5, 6])
  expect(x.slice(1, 0, 3, 2).tolist()).toEqual([
    [1, 3],
    [4, 6],
  ])
  expect(x.gather(1, tensor([[0n], [2n]])).tolist()).toEqual([[1], [6]])
  expect(
    zeros([2, 3])
      .scatter(1, tensor([[2n], [0n]]), 7)
      .tolist(),
  ).toEqual([
    [0, 0, 7],
    [7, 0, 0],
  ])
  expect(x.index([null, tensor([2n, 0n])]).tolist()).toEqual([
    [3, 1],
    [6, 4],
  ])
  expect(x.maskedSelect(x.gt(4)).tolist()).toEqual([5, 6])
  expect(
    zeros([2])
      .indexAdd(0, tensor([1n, 1n]), tensor([2, 3]))
      .tolist(),
  ).toEqual([0, 5])
})

test('topk, stable sort and where', () => {
  const [values, indices] = tensor([1, 3, 3, 2]).sort(0, true)
  expect([values.tolist(), indices.tolist()]).toEqual([
    [3, 3, 2, 1],
    [1, 2, 3, 0],
  ]) // ties keep their order
  expect(tensor([1, 5, 3]).topk(2)[0].tolist()).toEqual([5, 3])
  expect(where(tensor([true, false]), tensor([1, 2]), tensor([3, 4])).tolist()).toEqual([1, 4])
})

test('shape: views share memory, cat and split undo each other', () => {
  const x = arange(0, 6)
  const view = x.view([2, 3])
  expect(view.sharesStorageWith(x)).toBe(true)
  expect(view.transpose(0, 1).shape).toEqual([3, 2])
  expect(view.t().isContiguous).toBe(false)
  expect(cat(x.split(4)).tolist()).toEqual(x.tolist())
  expect(
    stack([x, x])
      .unbind()
      .map(row => row.tolist()),
  ).toEqual([x.tolist(), x.tolist()])
  expect(view.unsqueeze(1).expand([2, 5, 3]).shape).toEqual([2, 5, 3])
})

test('in-place twins change and return the same tensor', () => {
  const x = ones([2])
  expect(x.add_(1).mul_(3)).toBe(x)
  expect(x.tolist()).toEqual([6, 6])
})

test('gradients: chain, explicit weights and accumulation', () => {
  const x = tensor([1, 2], { requiresGrad: true })
  x.pow(3).backward(tensor([1, 10]))
  expect(x.grad?.tolist()).toEqual([3, 120])
  x.mul(1).sum().backward()
  expect(x.grad?.tolist()).toEqual([4, 121])
})

test('a graph can be walked twice only when it is retained', () => {
  const x = tensor([3], { requiresGrad: true })
  const y = x.pow(2)
  y.backward(null, { retainGraph: true })
  y.backward()
  expect(x.grad?.item()).toBe(12)
  expect(() => y.backward()).toThrow('backward through the graph a second time')
})

test('cross entropy of equal logits is the log of their number', () => {
  const loss = crossEntropyLoss(zeros([3, 8], { dtype: 'f64' }), tensor([0n, 3n, 7n]))
  expect(loss.item()).toBeCloseTo(Math.log(8), 12)
})

test('every dtype goes to a typed array and back', () => {
  const dtypes: DType[] = ['f32', 'f64', 'f16', 'bf16', 'i8', 'u8', 'i16', 'i32', 'i64', 'bool']
  for (const dtype of dtypes) {
    const x = tensor([0, 1, 1, 0]).to(dtype)
    expect(x.dtype).toBe(dtype)
    expect(x.tolist()).toEqual([0, 1, 1, 0])
  }
})

test('typed arrays are shared both ways without a copy', () => {
  const array = Float32Array.from([1, 2, 3, 4])
  const x = fromTypedArray(array, [2, 2])
  array[0] = 9
  expect(x.tolist()).toEqual([
    [9, 2],
    [3, 4],
  ])
  const view = x.mul(1).asTypedArray<'f32'>()
  const y = x.add(0)
  const seen = y.asTypedArray<'f32'>()
  y.mul_(2)
  expect([...seen]).toEqual([18, 4, 6, 8])
  y.dispose()
  expect(seen[0]).toBe(18) // the array owns a reference of its own
  expect(view[0]).toBe(9)
})

test('a shared typed array lives as long as a tensor on it', async () => {
  const make = (): Tensor => fromTypedArray(new Float64Array(1000).fill(7))
  const x = make()
  for (let i = 0; i < 5; i++) {
    globalThis.gc?.()
    await new Promise(setImmediate)
  }
  expect(x.sum().item()).toBe(7000)
})

test('random numbers repeat under a seed, and a generator continues from its state', () => {
  expect(randn([4], { seed: 3 }).tolist()).toEqual(randn([4], { seed: 3 }).tolist())
  manualSeed(5)
  const first = randint(0, 100, [8]).tolist()
  manualSeed(5)
  expect(randint(0, 100, [8]).tolist()).toEqual(first)
  const generator = Generator.seeded(1)
  const { state } = generator
  const next = randn([4], { generator }).tolist()
  generator.state = state
  expect(randn([4], { generator }).tolist()).toEqual(next)
  generator.dispose()
})

test('tensors print readably', () => {
  expect(
    String(
      tensor([
        [1, 2.5],
        [-3, 4],
      ]),
    ),
  ).toBe('tensor([[ 1.0000,  2.5000],\n        [-3.0000,  4.0000]], shape=[2, 2], dtype=f32)')
  expect(inspect({ x: arange(0, 3) })).toBe('{ x: tensor([0, 1, 2], shape=[3], dtype=i64) }')
  expect(String(zeros([3, 2000]))).toBe(
    'tensor([[0., 0., 0., ..., 0., 0., 0.],\n        [0., 0., 0., ..., 0., 0., 0.],\n        [0., 0., 0., ..., 0., 0., 0.]], shape=[3, 2000], dtype=f32)',
  )
  expect(String(tensor([Number.NaN, Number.POSITIVE_INFINITY, 1e-7]))).toBe(
    'tensor([      nan,       inf, 1.0000e-7], shape=[3], dtype=f32)',
  )
})

const shape = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 })

test('property: nested arrays and shapes round-trip', () => {
  fc.assert(
    fc.property(shape, size => {
      const x = randn(size, { seed: 1 })
      expect(x.shape).toEqual(size)
      expect(x.numel).toBe(size.reduce((a, b) => a * b, 1))
      if (x.numel > 0) expect(tensor(x.tolist()).equal(x)).toBe(true)
      expect(fromTypedArray(x.toTypedArray(), size).equal(x)).toBe(true)
    }),
  )
})

test('property: broadcasting an addition gives the larger shape, whatever the order', () => {
  const pair = shape.chain(size =>
    fc.tuple(fc.constant(size), fc.array(fc.boolean(), { minLength: size.length, maxLength: size.length })),
  )
  fc.assert(
    fc.property(pair, ([size, collapse]) => {
      const small = size.map((length, i) => (collapse[i] ? 1 : length))
      expect(ones(size).add(ones(small)).shape).toEqual(size)
      expect(ones(small).add(ones(size)).shape).toEqual(size)
    }),
  )
})

test('arange counts from zero when given one number', () => {
  expect(arange(4).tolist()).toEqual([0, 1, 2, 3])
  expect(arange(1, 4).tolist()).toEqual([1, 2, 3])
})

test('what is no number is refused, naming it', () => {
  expect(() => tensor(['a'] as unknown as number[])).toThrow("'a' is not a number, boolean or bigint")
  expect(() => tensor([1, null] as unknown as number[])).toThrow("'null' is not a number, boolean or bigint")
})

test('allclose compares within a tolerance', () => {
  const x = tensor([1, 2])
  expect(x.allclose(tensor([1, 2 + 1e-6]))).toBe(true)
  expect(x.allclose(tensor([1, 2.1]))).toBe(false)
  expect(x.isclose(tensor([1, 2.1])).tolist()).toEqual([1, 0])
})
