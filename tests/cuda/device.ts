// Where the CUDA kernels of native/ops are tested: in the emulation, on the CPU; or, with SWITCHYARD_TEST_DEVICE=cuda, on a GPU.
import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { expect } from 'vitest'
import { callOperator, type DType, loadOperators, Tensor, tidy } from '../../src/torch/index.ts'

const device = process.env.SWITCHYARD_TEST_DEVICE ?? 'emulated'
export const isEmulated = device === 'emulated'

if (isEmulated) {
  const addon = process.env.SWITCHYARD_ADDON ?? 'build/native/switchyard.node'
  const emulation = join(resolve(dirname(addon)), 'libswitchyard_emulated.so')
  if (!existsSync(emulation)) {
    throw new Error(
      `${emulation} is not built: run node scripts/build-native.mjs --emulation, as make test does`,
    )
  }
  loadOperators(emulation)
}

/** What an operator takes. */
export type Argument = Tensor | readonly Tensor[] | number | boolean | string | null

/** What an operator returned, and its tensors as it left them, in one list. */
export interface Outcome {
  returned: Tensor[]
  changed: Tensor[]
}

const mapTensors = (args: readonly Argument[], change: (tensor: Tensor) => Tensor): Argument[] =>
  args.map(arg => {
    if (arg instanceof Tensor) return change(arg)
    return Array.isArray(arg) ? arg.map(change) : arg
  })

/** Strides that a test chose are kept. */
const copy = (tensor: Tensor): Tensor => tensor.detach().clone()

function run(name: string, args: readonly Argument[]): Outcome {
  const result = callOperator(name, ...args)
  const returned = (Array.isArray(result) ? result : [result]).filter(item => item instanceof Tensor)
  return { returned, changed: args.flat().filter(item => item instanceof Tensor) }
}

const bits = (tensor: Tensor): Buffer => Buffer.from(tensor.contiguous().toTypedArray().buffer)

function expectSameBits(a: Outcome, b: Outcome): void {
  const [first, second] = [a, b].map(({ returned, changed }) => [...returned, ...changed].map(bits))
  for (const [i, buffer] of first!.entries()) expect(buffer.equals(second![i]!)).toBe(true)
}

/**
 * The operator on the device under test, on copies of its arguments: run again, and the emulation with its threads in other
 * orders, it must give the same bits.
 */
export function onDevice(name: string, ...args: readonly Argument[]): Outcome {
  return tidy(() => {
    const once = (order: number): Outcome => {
      if (isEmulated) {
        callOperator('switchyard_emulated::thread_order', order)
        return run(`switchyard_emulated::${name}`, mapTensors(args, copy))
      }
      const { returned, changed } = run(
        `switchyard::${name}`,
        mapTensors(args, t => copy(t.to('cuda'))),
      )
      return { returned: returned.map(t => t.to('cpu')), changed: changed.map(t => t.to('cpu')) }
    }
    const [outcome, ...others] = [0, 1, 2].map(once)
    for (const other of others) expectSameBits(outcome!, other)
    return outcome!
  })
}

/** The CPU's operator on copies of the arguments, floating ones in f64 where `wide`. */
export function onCpu(name: string, args: readonly Argument[], wide = true): Outcome {
  return tidy(() =>
    run(
      `switchyard::${name}`,
      mapTensors(args, t => copy(wide && ['f32', 'f16', 'bf16'].includes(t.dtype) ? t.double() : t)),
    ),
  )
}

export const halves: readonly DType[] = ['bf16', 'f16']
export const dtypes: readonly DType[] = ['f32', 'bf16', 'f16']

/** Half the distance from 1 to the next number: what rounding changes, relatively, at most. */
const unitRoundoff: Partial<Record<DType, number>> = { f32: 2 ** -24, f16: 2 ** -11, bf16: 2 ** -8 }

/**
 * `||actual - wanted|| / ||wanted||` is at most that of `roundings` to the tensor's type, and of sums in f32 of `terms` terms,
 * whose errors are below terms * 2^-24 in norm unless nearly all cancels.
 */
export function expectNear(
  actual: Tensor,
  wanted: Tensor,
  { roundings = 1, terms = 8 }: { roundings?: number; terms?: number } = {},
): void {
  expect(actual.shape).toEqual(wanted.shape)
  const tolerance = roundings * unitRoundoff[actual.dtype]! + terms * 2 ** -24
  expect(relativeError(actual, wanted)).toBeLessThanOrEqual(tolerance)
}

/** `||actual - wanted|| / ||wanted||`, or the norm of `actual` where nothing is wanted. */
export function relativeError(actual: Tensor, wanted: Tensor): number {
  if (wanted.numel === 0) return 0
  return tidy(() => {
    const reference = wanted.double()
    const norm = (t: Tensor): number => Math.sqrt(t.square().sum().item())
    return norm(actual.double().sub(reference)) / (norm(reference) || 1)
  })
}

/** Integers, to be equal. */
export function expectEqual(actual: Tensor, wanted: Tensor): void {
  expect(actual.dtype).toBe(wanted.dtype)
  expect(actual.tolist()).toEqual(wanted.tolist())
}
