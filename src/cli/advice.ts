// What to change on a machine, from what was found there.

import type { Machine } from '../torch/index.ts'

/** One line for each thing that costs speed, with what to do. */
export function adviceFor(machine: Machine, environment: NodeJS.ProcessEnv): string[] {
  const rateOf = (name: string): number => machine.products.find(rate => rate.name === name)?.all ?? 0
  const [blas, oneDnn] = [rateOf('blas f32'), rateOf('onednn f32')]
  const lines: [boolean, string][] = [
    [
      machine.libtorch.blas === 'reference',
      'libtorch computes with the reference BLAS, about 50 times slower than OpenBLAS: apt-get install -y --no-install-recommends libopenblas0-pthread',
    ],
    [
      oneDnn > 1.5 * blas && blas > 0,
      `BLAS reaches ${(blas / oneDnn).toFixed(2)} of what oneDNN does: our kernels go around it, libtorch's own operators do not; OPENBLAS_CORETYPE=${coreType(machine)} may help those`,
    ],
    [
      machine.threads.operators !== machine.cores,
      `${machine.threads.operators} threads on ${machine.cores} cores: SWITCHYARD_THREADS=${machine.cores} uses all, and no more than there are`,
    ],
    [
      machine.hasUnusedGpu,
      'there is a GPU that this libtorch cannot use: build with LIBTORCH naming one with CUDA (docs/cuda.md)',
    ],
    [
      machine.fastBf16,
      'the processor multiplies bf16 by itself: train with --set precision.kind=auto, which takes it',
    ],
    [
      environment.SWITCHYARD_KERNELS !== undefined,
      `SWITCHYARD_KERNELS=${environment.SWITCHYARD_KERNELS} switches kernels off: leave it out unless you look for a fault`,
    ],
    [
      environment.SWITCHYARD_GEMM !== undefined,
      `SWITCHYARD_GEMM=${environment.SWITCHYARD_GEMM} stands for what would have been measured: leave it out unless results must repeat elsewhere`,
    ],
  ]
  return lines.flatMap(([applies, line]) => (applies ? line : []))
}

/** OpenBLAS's name of the kernels that fit the processor. */
function coreType({ extensions }: Machine): string {
  return extensions.includes('avx512f') ? 'SkylakeX' : 'Haswell'
}
