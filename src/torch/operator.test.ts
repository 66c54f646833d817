import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { generate } from '../../scripts/gen/generate.ts'
import {
  callOperator,
  Generator,
  hasOperator,
  OutOfMemoryError,
  ones,
  operatorNames,
  randn,
  runtimeInfo,
  type Tensor,
  TorchError,
  tensor,
  zeros,
} from './index.ts'

function errorOf(action: () => unknown): TorchError {
  try {
    action()
  } catch (error) {
    if (error instanceof TorchError) return error
    throw error
  }
  throw new Error('did not throw')
}

test('an operator error names the operator, the shapes and the reason, without a backtrace', () => {
  const error = errorOf(() => ones([2, 3]).matmul(ones([4, 5], { dtype: 'f64' })))
  expect(error.message).toBe(
    'aten::matmul(f32[2, 3], f64[4, 5]): mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)',
  )
  expect(error.operator).toBe('aten::matmul')
  expect(error.args).toEqual(['f32[2, 3]', 'f64[4, 5]'])
})

test.each([
  [
    'too few arguments',
    () => callOperator('aten::mm', ones([2, 2])),
    "aten::mm(f32[2, 2]): 'mat2' is missing (a Tensor)",
  ],
  [
    'too many',
    () => callOperator('aten::neg', ones([2]), 1, 2),
    'aten::neg(f32[2]): takes at most 1 arguments, got 3',
  ],
  [
    'a wrong type',
    () => callOperator('aten::softmax.int', ones([2]), 'x'),
    "aten::softmax.int(f32[2], 'x'): 'dim' must be an integer, got 'x'",
  ],
  [
    'a fraction for an integer',
    () => ones([2]).sum(0.5),
    "aten::sum.dim_IntList(f32[2], 0.5): 'dim' must be an array of integers, got 0.5",
  ],
  [
    'null for a tensor',
    () => callOperator('aten::neg', null),
    "aten::neg(null): 'self' must be a Tensor, got null",
  ],
  [
    'a list with a hole',
    () => callOperator('aten::cat', [ones([2]), undefined]),
    "aten::cat([f32[2], undefined]): 'tensors' must be an array of Tensors, got undefined",
  ],
  [
    'a number for a tensor',
    () => callOperator('aten::mm', ones([2, 2]), 5),
    "aten::mm(...): 'mat2' must be a Tensor, got 5",
  ],
  [
    'a number for a tensor in a list',
    () => callOperator('aten::cat', [ones([2]), 5]),
    "aten::cat(...): 'tensors' must be a Tensor, got 5",
  ],
  [
    'a tensor for a number',
    () => callOperator('aten::sum.dim_IntList', ones([2]), ones([1])),
    "aten::sum.dim_IntList(f32[2], an object): 'dim' must be an array of integers, got an object",
  ],
  [
    'an unknown dtype',
    () => callOperator('aten::zeros', [2], 'f8'),
    "aten::zeros([2], 'f8'): 'dtype' must be a dtype, got 'f8'",
  ],
  ['an unknown operator', () => callOperator('aten::nope'), 'this libtorch has no operator aten::nope'],
  [
    'no operator name',
    () => callOperator('add'),
    "'add' is no operator name; names look like aten::add.Tensor",
  ],
])('%s is refused in one clear line', (_, action, message) => {
  expect(errorOf(action).message).toBe(message)
})

test('the generic door converts every kind of argument and result', () => {
  const x = tensor([
    [3, 1],
    [2, 4],
  ])
  const [values, indices] = callOperator('aten::max.dim', x, 1) as [Tensor, Tensor]
  expect([values.tolist(), indices.tolist()]).toEqual([
    [3, 4],
    [0, 1],
  ])
  expect((callOperator('aten::unbind.int', x) as Tensor[]).length).toBe(2)
  expect((callOperator('aten::index.Tensor', x, [null, tensor([1n])]) as Tensor).tolist()).toEqual([[1], [4]])
  expect(callOperator('aten::is_floating_point', x)).toBe(true)
  expect(callOperator('aten::size.int', x, 0)).toBe(2)
  expect(callOperator('aten::add_.Scalar', x, 1)).toBe(x)
  expect((callOperator('aten::einsum', 'ij,jk->ik', [x, x]) as Tensor).shape).toEqual([2, 2])
  using generator = Generator.seeded(7)
  expect((callOperator('aten::randn.generator', [3], generator) as Tensor).tolist()).toEqual(
    randn([3], { seed: 7 }).tolist(),
  )
  expect((callOperator('aten::clamp', x, null, 3) as Tensor).max().item()).toBe(3)
})

test('every operator of libtorch is listed, and can be looked up', () => {
  const names = operatorNames()
  expect(names.length).toBeGreaterThan(2000)
  expect(hasOperator('aten::addmm')).toBe(true)
  expect(hasOperator('aten::no_such_thing')).toBe(false)
})

test('running out of memory says how much was wanted and what to lower', () => {
  const error = errorOf(() => zeros([2 ** 45]))
  expect(error).toBeInstanceOf(OutOfMemoryError)
  expect((error as OutOfMemoryError).bytes).toBe(2 ** 47)
  expect(error.message).toContain('wanted 131072.00 GiB more; lower the batch size')
})

test('on CUDA it says what is free and what is kept, too', () => {
  // The words of CUDACachingAllocator.cpp in libtorch 2.1 and later.
  const error = new OutOfMemoryError(
    'CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB of which 512.00 MiB is free. ' +
      'Process 1 has 78.60 GiB memory in use. Of the allocated memory 76.00 GiB is allocated by PyTorch, and 768.00 MiB is ' +
      'reserved by PyTorch but unallocated.',
    {},
  )
  expect([error.bytes, error.free, error.unused]).toEqual([2.5 * 2 ** 30, 512 * 2 ** 20, 768 * 2 ** 20])
  expect(error.message).toBe(
    'out of memory: wanted 2.50 GiB more, 0.50 GiB are free and 0.75 GiB kept unused; lower the batch size, the sequence ' +
      "length or the model's width, or in training set recompute: layers or precision: half",
  )
})

test.skipIf(!runtimeInfo().version.startsWith('1.13'))('regenerating the signatures changes nothing', () => {
  for (const [name, source] of Object.entries(generate())) {
    expect(readFileSync(new URL(`generated/${name}`, import.meta.url), 'utf8')).toBe(source)
  }
})

test('an argument whose reading runs other operators, or throws, spoils nothing', () => {
  const x = ones([2])
  const list: unknown[] = [0]
  Object.defineProperty(list, 0, {
    get: () => {
      x.add(1)
      return 0
    },
  })
  expect((callOperator('aten::sum.dim_IntList', x, list) as Tensor).item()).toBe(2)
  Object.defineProperty(list, 0, {
    get: () => {
      throw new Error('mine')
    },
  })
  expect(() => callOperator('aten::sum.dim_IntList', x, list)).toThrow()
  expect(x.sum().item()).toBe(2)
})
