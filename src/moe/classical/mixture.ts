// The adaptive mixture of local experts, and the three errors by which it can learn (Jacobs, Jordan, Nowlan and Hinton, Neural
// Computation 3, 1991, pages 79-87).
// Shapes: T samples, D inputs, M outputs, E experts.

import { Linear, Module } from '../../nn/index.ts'
import { noGrad, stack, type Tensor, tidy } from '../../torch/index.ts'

/** Any module that gives an output for each sample: [T, D] -> [T, M]. */
export type LocalExpert = Module & { forward(x: Tensor): Tensor }

/** What gives each expert's share of a sample, as logarithms: [T, D] -> [T, E]. */
export type Gate = Module & { logShares(x: Tensor): Tensor }

/** `p = softmax(V x + c)` */
export class SoftmaxGate extends Module implements Gate {
  readonly linear: Linear

  constructor(inputs: number, experts: number) {
    super()
    this.linear = new Linear(inputs, experts, { role: 'router' })
  }

  logShares(x: Tensor): Tensor {
    return tidy(() => this.linear.forward(x).logSoftmax(-1))
  }
}

export interface MixtureOutput {
  /** What each expert says: [T, E, M]. */
  outputs: Tensor
  /** [T, E] */
  logShares: Tensor
}

export class LocalExperts extends Module {
  readonly experts: readonly LocalExpert[]
  readonly gate: Gate

  constructor(experts: readonly LocalExpert[], gate: Gate) {
    super()
    this.experts = [...experts]
    this.gate = gate
  }

  /** x [T, D] */
  forward(x: Tensor): MixtureOutput {
    return tidy(() => ({
      outputs: stack(
        this.experts.map(expert => expert.forward(x)),
        1,
      ),
      logShares: this.gate.logShares(x),
    }))
  }

  /** The mean of the mixture: [T, M]. */
  predict(x: Tensor): Tensor {
    return noGrad(() => tidy(() => blended(this.forward(x))))
  }
}

/** `sum_i p_i o_i`: [T, M] */
function blended({ outputs, logShares }: MixtureOutput): Tensor {
  return outputs.mul(logShares.exp().unsqueeze(-1)).sum([1])
}

/** `||d - sum_i p_i o_i||^2`, averaged over samples: experts make up for each other, and none has a region of its own. */
export function cooperativeError(output: MixtureOutput, wanted: Tensor): Tensor {
  return tidy(() => wanted.sub(blended(output)).square().sum([-1]).mean())
}

/** `sum_i p_i ||d - o_i||^2`: each expert is to be right alone. */
export function competitiveError(output: MixtureOutput, wanted: Tensor): Tensor {
  return tidy(() => output.logShares.exp().mul(distances(output, wanted)).sum([-1]).mean())
}

/**
 * `-log sum_i p_i exp(-||d - o_i||^2 / 2 s^2)`, minus the logarithm of a mixture of Gaussians of one width but for a constant: an
 * expert learns from what it is already good at, `h_i = p_i exp(..) / sum_j p_j exp(..)`.
 *
 * @param width s; default 1
 */
export function logMixtureError(output: MixtureOutput, wanted: Tensor, width = 1): Tensor {
  return tidy(() => jointLog(output, wanted, width).logsumexp([-1]).neg().mean())
}

/** `h`, the share that each expert has in a sample once the answer is known: [T, E]. */
export function posterior(output: MixtureOutput, wanted: Tensor, width = 1): Tensor {
  return tidy(() => jointLog(output, wanted, width).softmax(-1))
}

/** `log p_i - ||d - o_i||^2 / 2 s^2`: [T, E] */
function jointLog(output: MixtureOutput, wanted: Tensor, width: number): Tensor {
  return output.logShares.sub(distances(output, wanted).div(2 * width ** 2))
}

/** `||d - o_i||^2`: [T, E] */
const distances = ({ outputs }: MixtureOutput, wanted: Tensor): Tensor =>
  outputs.sub(wanted.unsqueeze(1)).square().sum([-1])
