import { atLeastF32, type Parameter } from '../../nn/index.ts'
import {
  foreachMul_,
  foreachNorm,
  kernelFor,
  noGrad,
  stack,
  type Tensor,
  tensor,
  tidy,
} from '../../torch/index.ts'
import type { GradientScaling } from './optimizer.ts'

/** Euclidean norm over all gradients as one vector, a scalar that nobody waits for; 0 without any. */
export function gradientNorm(parameters: readonly Parameter[]): Tensor {
  return noGrad(() =>
    tidy(() => {
      const gradients = gradientsOf(parameters)
      const [first] = gradients
      if (!first) return tensor(0)
      const deviceNorm = kernelFor('deviceNorm', first)
      if (deviceNorm) return normOf(eachType(gradients).map(deviceNorm))
      const norm = kernelFor('vectorNorm', ...gradients)?.(gradients)
      return norm === undefined ? normOf(foreachNorm(gradients)) : tensor(norm, { dtype: 'f64' })
    }),
  )
}

/** Types may differ: a model in half precision may have an f32 router. */
function eachType(gradients: readonly Tensor[]): Tensor[][] {
  const types = [...new Set(gradients.map(gradient => gradient.dtype))]
  return types.map(type => gradients.filter(({ dtype }) => dtype === type))
}

const normOf = (norms: readonly Tensor[]): Tensor => stack(norms.map(atLeastF32)).norm()

/** What brings a gradient of this norm down to `max`; 1 when it is below. As torch.nn.utils.clip_grad_norm_. */
export function clipFactor(norm: number, max: number): number {
  return Math.min(1, max / (norm + 1e-6))
}

/** The factor of gradients, for which the host waits; null when they are not finite. */
export function gradientFactor({ norm = null, clip = null, lossScale = 1 }: GradientScaling): number | null {
  if (norm === null) return 1 / lossScale
  const size = norm.item()
  if (!Number.isFinite(size)) return null
  return (clip === null ? 1 : clipFactor(size / lossScale, clip)) / lossScale
}

/** Scales all gradients so that their norm is at most `max`. */
export function clipGradients(parameters: readonly Parameter[], norm: number, max: number): void {
  const factor = clipFactor(norm, max)
  if (factor < 1) noGrad(() => tidy(() => foreachMul_(gradientsOf(parameters), factor)))
}

function gradientsOf(parameters: readonly Parameter[]): Tensor[] {
  return parameters.flatMap(({ grad }) => grad ?? [])
}
