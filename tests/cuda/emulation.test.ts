// The emulation itself: that it would show what is wrong with a kernel, and that its 16-bit types are the real ones.
import { expect, test } from 'vitest'
import { arange, callOperator, randn, type Tensor, tensor } from '../../src/torch/index.ts'
import { isEmulated } from './device.ts'

const call = (name: string, ...args: unknown[]): Tensor =>
  callOperator(`switchyard_emulated::${name}`, ...args) as Tensor

const inOrder = <T>(order: number, body: () => T): T => {
  callOperator('switchyard_emulated::thread_order', order)
  return body()
}

const values = (): Tensor => arange(64).to('i32')

test.runIf(isEmulated)('a barrier orders the threads', () => {
  const reversed = values().flip([0]).tolist()
  for (const order of [0, 1, 2])
    inOrder(order, () => expect(call('reversed', values(), true).tolist()).toEqual(reversed))
})

test.runIf(isEmulated)('a missing barrier shows in another order of threads', () => {
  const first = inOrder(0, () => call('reversed', values(), false).tolist())
  const second = inOrder(1, () => call('reversed', values(), false).tolist())
  expect(first).not.toEqual(second)
})

test.runIf(isEmulated)('threads of a warp exchange values', () => {
  const swapped = Array.from({ length: 64 }, (_, i) => i ^ 31)
  for (const order of [0, 1, 2])
    inOrder(order, () => expect(call('reversed_warps', values()).tolist()).toEqual(swapped))
})

test.runIf(isEmulated)('a barrier that not all threads reach is an error, and the next kernel runs', () => {
  expect(() => callOperator('switchyard_emulated::deadlock')).toThrow('never reach')
  expect(call('reversed_warps', values()).tolist()).toHaveLength(64)
})

// Every exponent, ties, subnormals, both infinities' neighbourhoods and NaN.
const floats = (): Tensor => {
  const scales = Array.from({ length: 64 }, (_, i) => 2 ** (i - 40))
  const ties = [
    1,
    1 + 2 ** -8,
    1 + 3 * 2 ** -8,
    1 + 2 ** -11,
    1 + 3 * 2 ** -11,
    2 ** -25,
    3 * 2 ** -25,
    2 ** -26,
  ]
  const large = [65504, 65519.99, 65520, 3.3e38, 3.4e38, Number.POSITIVE_INFINITY, Number.NaN, 0]
  const random = (randn([2048], { seed: 1 }).tolist() as number[]).map((x, i) => x * scales[i % 64]!)
  const all = [...scales, ...ties, ...large, ...random]
  return tensor([...all, ...all.map(x => -x)])
}

test.runIf(isEmulated).each([
  ['bf16', false],
  ['f16', true],
] as const)('%s rounds and widens as libtorch does', (dtype, half) => {
  const narrow = floats().to(dtype)
  expect(call('widened', call('rounded', floats(), half), half).tolist()).toEqual(narrow.float().tolist())
  const everyBits = arange(65536).to('i32')
  const wide = call('widened', everyBits, half)
  const again = call('widened', call('rounded', wide, half), half)
  expect(again.tolist()).toEqual(wide.tolist())
})
