import { foreachMul_, foreachNorm, noGrad, type Parameter, stack, tidy } from '../../torch/index.ts'

/** Euclidean norm over all gradients as one vector; 0 without any. */
export function gradientNorm(parameters: readonly Parameter[]): number {
  return noGrad(() =>
    tidy(() => {
      const gradients = parameters.flatMap(({ grad }) => (grad === null ? [] : [grad]))
      return gradients.length === 0 ? 0 : stack(foreachNorm(gradients)).norm().item()
    }),
  )
}

/** Scales all gradients by `max / norm` when the norm exceeds `max`, as torch.nn.utils.clip_grad_norm_ does. */
export function clipGradients(parameters: readonly Parameter[], norm: number, max: number): void {
  const factor = max / (norm + 1e-6)
  if (factor >= 1) return
  noGrad(() =>
    tidy(() =>
      foreachMul_(
        parameters.flatMap(({ grad }) => (grad === null ? [] : [grad])),
        factor,
      ),
    ),
  )
}
