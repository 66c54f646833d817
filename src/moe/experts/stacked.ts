// Experts with all their weights in one tensor per projection, the layout of HF transformers 5.
// Shapes: E experts, D model, F expert width.

import { type Activation, type Declaration, Module, Parameter, uniform } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import type { Experts } from '../contracts.ts'
import type { TokenRouting } from '../routing/token.ts'
import type { ExpertSizes } from './experts.ts'
import type { ExpertForm } from './forms.ts'
import { type ExpertWeights, type Projections, parameterWeights } from './weights.ts'

export interface StackedExpertsOptions extends ExpertSizes {
  /** Default silu for gated experts (SwiGLU), relu for plain ones. */
  activation?: Activation
  /**
   * Rate of dropout on the hidden activation while training, in [0, 1): the "expert dropout" of Switch (arXiv:2101.03961
   * section 2.4), which takes 0.4 in fine-tuning beside 0.1 elsewhere. Default 0. To drop whole experts see TopKRouter.
   */
  dropout?: number
}

/** What all of them share: a form, computed where the weights are. */
export abstract class StackedExperts extends Module implements Experts {
  abstract readonly numExperts: number
  /** The parameters of all experts, by what they are for. */
  abstract readonly stacks: Projections<Parameter>
  /** What an expert computes now, in training or not. */
  abstract get form(): ExpertForm
  /** See StackedExpertsOptions. May be changed at any time. */
  dropout = 0
  #elsewhere: ExpertWeights | null = null

  /** From now on matrices are taken from another place than the parameters, which need no memory then. */
  serveFrom(weights: ExpertWeights): void {
    this.#elsewhere = weights
  }

  /** The rate now, in training or not. */
  protected get dropRate(): number {
    return this.training ? this.dropout : 0
  }

  get #weights(): ExpertWeights {
    return this.#elsewhere ?? parameterWeights(this.stacks)
  }

  mix(xTD: Tensor, routing: TokenRouting): Tensor {
    return this.#weights.mix(xTD, routing, this.form)
  }

  grouped(xND: Tensor, counts: readonly number[]): Tensor {
    return this.#weights.grouped(xND, counts, this.form)
  }

  expert(index: number, x: Tensor): Tensor {
    return this.#weights.expert(index, x, this.form)
  }
}

/** E tensors of one shape, initially uniform on `+-1/sqrt(inputs)`, as those of a Linear. */
export function stack(
  numExperts: number,
  shape: readonly number[],
  inputs: number,
  { encodable }: Pick<Declaration, 'encodable'> = {},
): Parameter {
  const init = uniform(1 / Math.sqrt(inputs))
  return new Parameter({
    shape: [numExperts, ...shape],
    role: 'experts',
    init,
    stacked: true,
    ...(encodable && { encodable }),
  })
}
