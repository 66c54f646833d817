// Which library computes the matrix products of kernels on a CPU.

import { callOperator } from './runtime.ts'

/**
 * `onednn`, `blas` (which libtorch's own products use), or `libtorch` where neither can be called; or one for each kind of
 * product, as `thin=onednn,small=onednn,large=blas,transposed=blas`. Found once per process by measuring for some
 * milliseconds; the environment variable SWITCHYARD_GEMM says it instead, in the same words.
 *
 * @throws TorchError when SWITCHYARD_GEMM says what cannot be
 */
export function gemmChoice(): string {
  return callOperator('switchyard::gemm_choice') as string
}

/** The libraries that this process has. */
export function gemmLibraries(): string[] {
  return callOperator('switchyard::gemm_libraries') as string[]
}

/**
 * From now on, another choice: the last bits of results differ between libraries.
 *
 * @param choice in the words of gemmChoice()
 * @throws TorchError for what cannot be, with what can
 */
export function chooseGemm(choice: string): void {
  callOperator('switchyard::choose_gemm', choice)
}

/** Whether a CPU's products of bf16 are faster than those of f32: its processor has instructions for them (AVX512_BF16). */
export function hasFastBf16(): boolean {
  return callOperator('switchyard::has_fast_bf16') as boolean
}
