// Experts of whole models: ridge regression with a Gaussian kernel, behind a gate that knows where each expert's inputs lie.
// Shapes: T samples, N samples that were learnt, D inputs, M outputs, E experts.

import { Buffer, Module } from '../../nn/index.ts'
import { eye, noGrad, stack, type Tensor, tidy } from '../../torch/index.ts'
import type { Gate, LocalExpert } from './mixture.ts'

/** `k(x, y) = exp(-||x - y||^2 / 2 l^2)`: [T, N] */
function kernel(x: Tensor, y: Tensor, length: number): Tensor {
  const squares = x
    .square()
    .sum([-1], true)
    .add(y.square().sum([-1])) // [T, N]
  return squares
    .sub(x.matmul(y.t()).mul(2))
    .clamp(0)
    .div(-2 * length ** 2)
    .exp()
}

export interface KernelRidgeOptions {
  /** l, the distance over which outputs are alike. */
  length: number
  /** Added to the diagonal, by which noise is forgiven. */
  ridge: number
}

/** `o(x) = k(x, X) (k(X, X) + r I)^-1 Y`, fitted at once to its samples and untouched by gradients. */
export class KernelRidgeExpert extends Module implements LocalExpert {
  readonly inputs: Buffer // X: [N, D]
  readonly weights: Buffer // [N, M]
  readonly #length: number

  /** @param x [N, D], y [N, M], f64 */
  constructor(x: Tensor, y: Tensor, { length, ridge }: KernelRidgeOptions) {
    super()
    this.#length = length
    const solved = noGrad(() =>
      tidy(() =>
        kernel(x, x, length)
          .add(eye(x.size(0)).to(x.dtype), ridge)
          .inverse()
          .matmul(y),
      ),
    )
    this.inputs = new Buffer(x.shape, { dtype: 'f64', role: 'experts', value: () => x.clone() })
    this.weights = new Buffer(y.shape, { dtype: 'f64', role: 'experts', value: () => solved.clone() })
    solved.dispose()
  }

  forward(x: Tensor): Tensor {
    return tidy(() => kernel(x, this.inputs, this.#length).matmul(this.weights))
  }
}

/** `p_i ~ pi_i N(x; mu_i, s_i^2 I)`: experts by where inputs lie, learnt from inputs alone. */
export class GaussianGate extends Module implements Gate {
  readonly means: Buffer // [E, D]
  readonly logWeights: Buffer // log pi: [E]
  readonly variances: Buffer // [E]

  /** @param groups the inputs of each expert, [N_i, D] */
  constructor(groups: readonly Tensor[]) {
    super()
    const total = groups.reduce((sum, group) => sum + group.size(0), 0)
    const of =
      (each: (group: Tensor) => Tensor): (() => Tensor) =>
      () =>
        stack(groups.map(each))
    const [first] = groups
    this.means = new Buffer([groups.length, first?.size(1) ?? 0], {
      dtype: 'f64',
      value: of(group => group.mean([0])),
    })
    this.logWeights = new Buffer([groups.length], {
      dtype: 'f64',
      value: of(group =>
        group
          .sum()
          .mul(0)
          .add(Math.log(group.size(0) / total)),
      ),
    })
    this.variances = new Buffer([groups.length], {
      dtype: 'f64',
      value: of(group =>
        group
          .sub(group.mean([0]))
          .square()
          .mean()
          .clamp(1e-12),
      ),
    })
  }

  logShares(x: Tensor): Tensor {
    return tidy(() => {
      const squares = x.unsqueeze(1).sub(this.means).square().sum([-1]) // [T, E]
      const densities = squares.div(this.variances.mul(-2)).sub(this.variances.log().mul(x.size(1) / 2))
      return densities.add(this.logWeights).logSoftmax(-1)
    })
  }
}
