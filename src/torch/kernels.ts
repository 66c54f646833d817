// Which parts run their own kernel (native/ops) and which their reference in TypeScript. For tests and for finding
// out which part is to blame; both give the same result but for rounding.

import { ConfigError } from '../errors.ts'
import { native } from './native.ts'
import type { Tensor } from './tensor.ts'

export type KernelName = 'experts' | 'route' | 'rmsNorm' | 'attention' | 'linearCrossEntropy' | 'adamw'

export const kernelNames: readonly KernelName[] = [
  'experts',
  'route',
  'rmsNorm',
  'attention',
  'linearCrossEntropy',
  'adamw',
]

/** SWITCHYARD_KERNELS names the kernels to use, as in `experts,route`, or `none`; default: all. */
const enabled = new Set<KernelName>(fromEnvironment(process.env.SWITCHYARD_KERNELS))

function fromEnvironment(text: string | undefined): readonly KernelName[] {
  if (text === undefined) return kernelNames
  const wanted = text === 'none' ? [] : text.split(',')
  const unknown = wanted.find(name => !kernelNames.includes(name as KernelName))
  if (unknown === undefined) return wanted as KernelName[]
  throw new ConfigError(`'${unknown}' is none of ${kernelNames.join(', ')}, none`, {
    path: 'SWITCHYARD_KERNELS',
  })
}

/** Uses exactly these kernels while `body` runs. */
export function withKernels<T>(names: readonly KernelName[], body: () => T): T {
  const before = [...enabled]
  const use = (chosen: readonly KernelName[]): void => {
    enabled.clear()
    for (const name of chosen) enabled.add(name)
  }
  use(names)
  try {
    return body()
  } finally {
    use(before)
  }
}

/**
 * Whether a part should run its kernel on these tensors: it is switched on, and they are of one type that kernels know, on
 * one device: f32 or f64 on a CPU; f32, bf16 or f16 on CUDA.
 */
export function hasKernel(name: KernelName, ...tensors: readonly Tensor[]): boolean {
  return enabled.has(name) && native().kernelsKnow(...tensors.map(tensor => tensor.handle))
}
