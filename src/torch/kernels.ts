// Where a part runs its own kernel (native/ops) and where its reference in TypeScript: both give the same result but for
// rounding. The only choice between the two, but for what a kernel cannot compute at all, which its caller knows.

import { ConfigError } from '../errors.ts'
import {
  attentionCached,
  attentionDecode,
  deviceNorm,
  fusedAdamw_,
  fusedCausalAttention,
  fusedExperts,
  fusedLinear,
  fusedLinearCrossEntropy,
  fusedRmsNorm,
  fusedRotate,
  fusedRoute,
  mixedAdamw_,
  newtonSchulz,
  vectorNorm,
} from './generated/functions.ts'
import { native } from './native.ts'
import type { Tensor } from './tensor.ts'

interface Kernel {
  run: unknown
  /** What it is switched off by. */
  part: KernelName
  /** Where it is better than operators; default: wherever it runs. */
  on?: 'cpu' | 'gpu'
  /** Whether it knows bf16 on a CPU, too. Default: f32 and f64 alone. */
  bf16?: true
}

const kernels = {
  linear: { run: fusedLinear, part: 'linear', on: 'cpu', bf16: true },
  experts: { run: fusedExperts, part: 'experts', bf16: true },
  route: { run: fusedRoute, part: 'route' },
  rmsNorm: { run: fusedRmsNorm, part: 'rmsNorm', bf16: true },
  causalAttention: { run: fusedCausalAttention, part: 'attention', bf16: true },
  attentionCached: { run: attentionCached, part: 'attention', on: 'cpu' },
  attentionDecode: { run: attentionDecode, part: 'attention', on: 'gpu' },
  rotate: { run: fusedRotate, part: 'attention' },
  linearCrossEntropy: { run: fusedLinearCrossEntropy, part: 'linearCrossEntropy', bf16: true },
  adamw: { run: fusedAdamw_, part: 'adamw' },
  mixedAdamw: { run: mixedAdamw_, part: 'adamw', on: 'gpu' },
  newtonSchulz: { run: newtonSchulz, part: 'muon', on: 'cpu' },
  vectorNorm: { run: vectorNorm, part: 'adamw' },
  deviceNorm: { run: deviceNorm, part: 'adamw', on: 'gpu' },
} as const satisfies Record<string, Kernel>

type Kernels = typeof kernels

/**
 * The kernel for these tensors, or null where the reference is to be run: it is switched on, it is wanted on their
 * device, and they are of one type that it knows, on one device: f32 or f64, and for some bf16, on a CPU; f32, bf16 or f16
 * on CUDA.
 */
export function kernelFor<K extends keyof Kernels>(
  name: K,
  ...tensors: readonly Tensor[]
): Kernels[K]['run'] | null {
  const { run, part, on, bf16 }: Kernel & { run: Kernels[K]['run'] } = kernels[name]
  const [first] = tensors
  if (!first || !enabled.has(part) || (on && (on === 'cpu') !== (first.device === 'cpu'))) return null
  if (!bf16 && first.dtype === 'bf16' && first.device === 'cpu') return null
  const addon = native()
  const handles = tensors.map(tensor => tensor.handle)
  return (bf16 ? addon.kernelsNarrow(...handles) : addon.kernelsKnow(...handles)) ? run : null
}

/** Parts that kernels can be switched off for, for tests and to find out which is to blame. */
export type KernelName =
  | 'linear'
  | 'experts'
  | 'route'
  | 'rmsNorm'
  | 'attention'
  | 'linearCrossEntropy'
  | 'adamw'
  | 'muon'

export const kernelNames: readonly KernelName[] = [
  'linear',
  'experts',
  'route',
  'rmsNorm',
  'attention',
  'linearCrossEntropy',
  'adamw',
  'muon',
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
