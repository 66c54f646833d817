// What the machine can do, asked and measured: processor, memory, libtorch and its libraries, rates of products and reads.

import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { randn } from './create.ts'
import { type CudaDevice, cudaDevice, hasCudaRuntime } from './cuda/device.ts'
import type { DType } from './dtype.ts'
import { chooseGemm, gemmChoice, gemmLibraries, hasFastBf16 } from './gemm.ts'
import { fusedLinear } from './generated/functions.ts'
import { simdChoice } from './panels.ts'
import { runtimeInfo, setThreads } from './runtime.ts'
import type { Tensor } from './tensor.ts'
import { noGrad, tidy } from './tidy.ts'

/** Rates on one thread, and on all. */
export interface Rate {
  /** Of a library in a type, as `onednn f32`. */
  name: string
  one: number
  all: number
}

export interface Machine {
  processor: string
  /** Cores that this process may use. */
  cores: number
  /** Vector extensions that kernels have code for, as Linux names them. */
  extensions: string[]
  /** Bytes. */
  memory: { total: number; available: number }
  libtorch: { version: string; blas: string; cuda: boolean }
  threads: { operators: number; blas: number }
  /** What computes products; see gemmChoice(). */
  gemm: string
  /** What products with encoded weights use; see simdChoice(). */
  simd: string
  /** Whether the processor multiplies bf16 by itself. */
  fastBf16: boolean
  /** Matrix products of 1024 x 1024, in FLOP/s. */
  products: Rate[]
  /** Reading memory, in bytes/s. */
  read: Rate
  /** Devices that libtorch computes on; and whether there is one that it does not know. */
  gpu: CudaDevice | null
  hasUnusedGpu: boolean
}

const known = [
  'avx2',
  'fma',
  'f16c',
  'avx_vnni',
  'avx512f',
  'avx512_vnni',
  'avx512_bf16',
  'amx_bf16',
  'amx_int8',
]

/** Asks and measures, which takes about two seconds; threads and choices are afterwards as before. */
export function examineMachine(): Machine {
  const { version, blas, cuda, threads, blasThreads } = runtimeInfo()
  const flags = new Set(/^flags\s*:(.*)$/m.exec(linuxFile('/proc/cpuinfo'))?.[1]?.split(' '))
  const available = Number(/^MemAvailable:\s*(\d+)/m.exec(linuxFile('/proc/meminfo'))?.[1] ?? 0) * 1024
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    extensions: known.filter(name => flags.has(name)),
    memory: { total: totalmem(), available },
    libtorch: { version, blas, cuda },
    threads: { operators: threads, blas: blasThreads },
    gemm: gemmChoice(),
    simd: simdChoice(),
    fastBf16: hasFastBf16(),
    products: productRates(),
    read: readRate(),
    gpu: cuda && hasCudaRuntime() ? cudaDevice() : null,
    hasUnusedGpu: !cuda && existsSync('/dev/nvidia0'),
  }
}

const linuxFile = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')

/** Each library in f32; bf16 by oneDNN, or widened to f32 where the processor has no instructions for it. */
function productRates(): Rate[] {
  const before = gemmChoice()
  try {
    const single = gemmLibraries().filter(name => name !== 'libtorch')
    const rates = single.map(library => {
      chooseGemm(library)
      return productRate(`${library} f32`, 'f32')
    })
    chooseGemm(before)
    return [...rates, productRate(hasFastBf16() ? 'onednn bf16' : 'bf16 widened to f32', 'bf16')]
  } finally {
    chooseGemm(before)
  }
}

function productRate(name: string, dtype: DType): Rate {
  const size = 1024
  return measured(name, 2 * size ** 3, () => {
    const [a, b] = [1, 2].map(seed => randn([size, size], { seed }).to(dtype)) as [Tensor, Tensor]
    return () => void fusedLinear(a, b)
  })
}

/** A sum over more than the caches hold. */
function readRate(): Rate {
  const elements = 1 << 26
  return measured('read', 4 * elements, () => {
    const x = randn([elements], { seed: 1 })
    return () => void x.sum()
  })
}

function measured(name: string, work: number, prepare: () => () => void): Rate {
  const { threads, blasThreads } = runtimeInfo()
  return noGrad(() =>
    tidy(() => {
      const run = prepare()
      const rate = (): number => work / bestSeconds(run)
      const all = rate()
      setThreads(1)
      try {
        return { name, one: rate(), all }
      } finally {
        setThreads(threads, blasThreads)
      }
    }),
  )
}

/** At its best within a tenth of a second or more: threads have to wake up, and others may be working. */
function bestSeconds(run: () => void): number {
  const [began, turns] = [performance.now(), [] as number[]]
  while (turns.length < 4 || performance.now() - began < 100) {
    const start = performance.now()
    tidy(run)
    turns.push((performance.now() - start) / 1000)
  }
  return Math.min(...turns)
}
