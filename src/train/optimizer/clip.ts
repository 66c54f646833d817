import {
  foreachMul_,
  foreachNorm,
  hasKernel,
  noGrad,
  type Parameter,
  stack,
  type Tensor,
  tidy,
  vectorNorm,
} from '../../torch/index.ts'

/** Euclidean norm over all gradients as one vector; 0 without any. */
export function gradientNorm(parameters: readonly Parameter[]): number {
  return noGrad(() =>
    tidy(() => {
      const gradients = gradientsOf(parameters)
      if (gradients.length === 0) return 0
      return hasKernel('adamw', ...gradients)
        ? vectorNorm(gradients)
        : stack(foreachNorm(gradients)).norm().item()
    }),
  )
}

/** What brings a gradient of this norm down to `max`; 1 when it is below. As torch.nn.utils.clip_grad_norm_. */
export function clipFactor(norm: number, max: number): number {
  return Math.min(1, max / (norm + 1e-6))
}

/** Scales all gradients so that their norm is at most `max`. */
export function clipGradients(parameters: readonly Parameter[], norm: number, max: number): void {
  const factor = clipFactor(norm, max)
  if (factor < 1) noGrad(() => tidy(() => foreachMul_(gradientsOf(parameters), factor)))
}

function gradientsOf(parameters: readonly Parameter[]): Tensor[] {
  return parameters.flatMap(({ grad }) => grad ?? [])
}
