// The hierarchical mixture of experts of two levels, learnt by expectation and maximization (Jordan and Jacobs, Neural Computation 6,
// 1994, pages 181-214).
// Shapes: T samples, D inputs and a constant, M outputs, A branches of B experts each.

import { Buffer, Module, Parameter } from '../../nn/index.ts'
import { cat, eye, noGrad, ones, randn, type Tensor, tidy } from '../../torch/index.ts'

export interface HierarchicalMixtureOptions {
  inputs: number
  outputs: number
  branches: number
  /** Experts of each branch. */
  experts: number
  seed?: number
}

/** Steps of a gate in each maximization; each raises its likelihood. */
const gateSteps = 8
/** Keeps products of inputs invertible where an expert has hardly a sample. */
const ridge = 1e-8
/** Where experts hit every sample the likelihood has no bound. */
const leastVariance = 1e-12

/**
 * `p(d | x) = sum_i g_i(x) sum_j g_ij(x) N(d; U_ij x, s^2)`: gates are softmaxes of linear functions, experts are linear.
 */
export class HierarchicalMixture extends Module {
  readonly gate: Parameter // [A, D]
  readonly gates: Parameter // [A, B, D]
  readonly experts: Parameter // [A, B, M, D]
  /** s^2, of all experts: []. */
  readonly variance = new Buffer([], { dtype: 'f64', value: () => ones([], { dtype: 'f64' }) })

  constructor({ inputs, outputs, branches, experts, seed = 1 }: HierarchicalMixtureOptions) {
    super()
    const small = (shape: number[], i: number): Parameter =>
      new Parameter(randn(shape, { seed: seed + i, dtype: 'f64' }).mul(0.1))
    this.gate = small([branches, inputs + 1], 0)
    this.gates = small([branches, experts, inputs + 1], 1)
    this.experts = small([branches, experts, outputs, inputs + 1], 2)
  }

  /** The logarithm of the joint density of a sample and each expert, [T, A, B]. */
  #jointLog(x: Tensor, wanted: Tensor): Tensor {
    return this.logShares(x).add(this.#logDensities(x, wanted))
  }

  /** `log g_i g_ij`: [T, A, B]; their exponentials add up to 1. */
  logShares(x: Tensor): Tensor {
    return tidy(() => {
      const inputs = withConstant(x) // [T, D]
      const [branches, experts, width] = this.gates.shape as [number, number, number]
      const outer = inputs.matmul(this.gate.t()).logSoftmax(-1) // [T, A]
      const inner = inputs.matmul(this.gates.view([branches * experts, width]).t()) // [T, A B]
      return inner.view([-1, branches, experts]).logSoftmax(-1).add(outer.unsqueeze(-1))
    })
  }

  /** What each expert says: [T, A, B, M]. */
  outputs(x: Tensor): Tensor {
    return tidy(() => {
      const [branches, experts, outputs, width] = this.experts.shape as [number, number, number, number]
      const all = withConstant(x).matmul(this.experts.view([-1, width]).t())
      return all.view([-1, branches, experts, outputs])
    })
  }

  /** `log N(d; U_ij x, s^2)`: [T, A, B] */
  #logDensities(x: Tensor, wanted: Tensor): Tensor {
    const outputs = wanted.size(1)
    const squares = this.outputs(x).sub(wanted.unsqueeze(1).unsqueeze(1)).square().sum([-1])
    const log = this.variance.mul(2 * Math.PI).log()
    return squares.div(this.variance.mul(-2)).sub(log.mul(outputs / 2))
  }

  /** The mean over samples of log p(d | x): the objective of gradients, and what learn() never lowers. */
  logLikelihood(x: Tensor, wanted: Tensor): Tensor {
    return tidy(() => this.#jointLog(x, wanted).logsumexp([1, 2]).mean())
  }

  /** The mean of the mixture: [T, M]. */
  predict(x: Tensor): Tensor {
    return noGrad(() => tidy(() => this.outputs(x).mul(this.logShares(x).exp().unsqueeze(-1)).sum([1, 2])))
  }

  /**
   * One round: the share `h_ij` that each expert has in each sample, then for these shares the best linear experts, their variance, and
   * better gates. The likelihood never falls.
   *
   * @param x [T, inputs], f64
   * @param wanted [T, M], f64
   */
  learn(x: Tensor, wanted: Tensor): void {
    noGrad(() =>
      tidy(() => {
        const inputs = withConstant(x)
        const joint = this.#jointLog(x, wanted)
        const shares = joint.sub(joint.logsumexp([1, 2], true)).exp() // h: [T, A, B]
        this.#fitExperts(inputs, wanted, shares)
        const squares = this.outputs(x).sub(wanted.unsqueeze(1).unsqueeze(1)).square().mean([-1]) // [T, A, B]
        this.variance.copy_(squares.mul(shares).sum().div(x.size(0)).clamp(leastVariance))
        const branchShares = shares.sum([-1]) // h_i: [T, A]
        this.gate.copy_(raisedGate(this.gate, inputs, branchShares))
        for (let i = 0; i < this.gates.size(0); i++)
          this.gates.select(0, i).copy_(raisedGate(this.gates.select(0, i), inputs, shares.select(1, i)))
      }),
    )
  }

  /** Least squares with weights h_ij: `U = (sum h d x^T) (sum h x x^T)^-1`. */
  #fitExperts(inputs: Tensor, wanted: Tensor, shares: Tensor): void {
    const [branches, experts] = this.experts.shape as [number, number]
    for (let i = 0; i < branches; i++) {
      for (let j = 0; j < experts; j++) {
        const weighted = inputs.mul(shares.select(1, i).select(1, j).unsqueeze(-1)) // [T, D]
        const solved = wanted
          .t()
          .matmul(weighted)
          .matmul(inverse(weighted.t().matmul(inputs)))
        this.experts.select(0, i).select(0, j).copy_(solved)
      }
    }
  }
}

/**
 * A gate [E, D] whose likelihood `sum_t sum_i h_ti log softmax_i(V x_t)` is higher: steps of reweighted least squares with Boehning's
 * bound `1/2 (I - 1 1^T / E)` in place of each sample's curvature, none of which can lower it (Boehning and Lindsay, 1988).
 *
 * @param shares h: [T, E], whose rows add up to each sample's weight
 */
function raisedGate(gate: Tensor, inputs: Tensor, shares: Tensor): Tensor {
  const weights = shares.sum([-1], true) // [T, 1]
  const curvature = inverse(inputs.mul(weights).t().matmul(inputs).mul(0.5))
  let raised = gate.detach().clone()
  for (let step = 0; step < gateSteps; step++) {
    const excess = shares.sub(inputs.matmul(raised.t()).softmax(-1).mul(weights)) // [T, E]
    raised = raised.add(excess.t().matmul(inputs).matmul(curvature))
  }
  return raised
}

/** Of a symmetric matrix [D, D], to which a little is added on its diagonal. */
const inverse = (matrix: Tensor): Tensor => matrix.add(eye(matrix.size(0)).to(matrix.dtype), ridge).inverse()

/** x with a column of ones: [T, D]. */
const withConstant = (x: Tensor): Tensor => cat([x, ones([x.size(0), 1], { dtype: x.dtype })], 1)
