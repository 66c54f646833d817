// Experts that are one shared matrix each plus a correction of low rank.
// Shapes: T tokens, E experts, D model, F expert width, N rows grouped by expert, r rank.

import { z } from 'zod'
import { type Activation, activate, constant, Module, Parameter, uniform } from '../../nn/index.ts'
import { cat, linear, type Tensor } from '../../torch/index.ts'
import { checkWhole } from '../checks.ts'
import type { Experts } from '../contracts.ts'
import { sortedDispatch } from '../routing/sorted.ts'
import type { TokenRouting } from '../routing/token.ts'
import type { ExpertsRow } from './experts.ts'
import { sliceOf, throughGroups } from './groups.ts'
import type { FamilyOptions, LinearFamily } from './linear-family.ts'

export interface SharedBaseExpertsOptions extends FamilyOptions {
  /** Rank r of what tells the experts apart, from 0 on; 0 makes them all one. */
  rank: number
}

/** A linear map that all experts share, and what each adds to it. */
export interface SharedLinear extends LinearFamily {
  /** The product all experts share: [..., in] -> [..., out]. */
  shared(x: Tensor): Tensor
  /** What an expert adds: [n, in] -> [n, out]. */
  corrections(): (expert: number, x: Tensor) => Tensor
}

/**
 * Gated experts whose projections are shared but for a correction. What is shared is computed once per token, however many experts
 * it has: the first two products before dispatch, and the last after combine, since `sum_k w_k W h_k = W sum_k w_k h_k`. Beyond the
 * dense network a token costs K corrections.
 */
export class SharedExperts<P extends Module & SharedLinear> extends Module implements Experts {
  readonly gate_proj: P
  readonly up_proj: P
  readonly down_proj: P
  readonly numExperts: number
  readonly activation: Activation
  readonly #hiddenSize: number

  constructor(
    { gate_proj, up_proj, down_proj }: Record<'gate_proj' | 'up_proj' | 'down_proj', P>,
    { numExperts, hiddenSize, activation }: Required<Omit<FamilyOptions, 'intermediateSize'>>,
  ) {
    super()
    this.gate_proj = gate_proj
    this.up_proj = up_proj
    this.down_proj = down_proj
    this.numExperts = numExperts
    this.activation = activation
    this.#hiddenSize = hiddenSize
  }

  mix(xTD: Tensor, routing: TokenRouting): Tensor {
    const { x: rows, counts, combine } = sortedDispatch(this.#withShared(xTD), routing)
    if (rows.size(0) === 0) return combine(rows.narrow(-1, 0, xTD.size(-1)))
    return this.#finish(combine(this.#hidden(rows, counts)))
  }

  grouped(xND: Tensor, counts: readonly number[]): Tensor {
    if (xND.size(0) === 0) return xND.mul(0)
    return this.#finish(this.#hidden(this.#withShared(xND), counts))
  }

  expert(index: number, x: Tensor): Tensor {
    const gate = linear(x, this.gate_proj.weightOf(index))
    const up = linear(x, this.up_proj.weightOf(index))
    return linear(activate(gate, this.activation).mul(up), this.down_proj.weightOf(index))
  }

  /** x beside its shared products with the first two projections: [n, D] -> [n, D + 2F]. */
  #withShared(x: Tensor): Tensor {
    return cat([x, this.gate_proj.shared(x), this.up_proj.shared(x)], -1)
  }

  /** Each row's hidden activation beside its own part of the last projection: [N, D + 2F] -> [N, F + D]. */
  #hidden(rows: Tensor, counts: readonly number[]): Tensor {
    const model = this.#hiddenSize
    const width = (rows.size(-1) - model) / 2
    const { gate_proj, up_proj, down_proj } = this
    const [gateOf, upOf, downOf] = [gate_proj.corrections(), up_proj.corrections(), down_proj.corrections()]
    return throughGroups(rows, counts, (e, group) => {
      const [x, gate, up] = group.splitWithSizes([model, width, width], -1) as [Tensor, Tensor, Tensor]
      const hidden = activate(gate.add(gateOf(e, x)), this.activation).mul(up.add(upOf(e, x))) // [n, F]
      return cat([hidden, downOf(e, hidden)], -1)
    })
  }

  /** Adds the shared product of the last projection: [n, F + D] -> [n, D]. */
  #finish(rows: Tensor): Tensor {
    const model = this.#hiddenSize
    const [hidden, correction] = rows.splitWithSizes([rows.size(-1) - model, model], -1) as [Tensor, Tensor]
    return this.down_proj.shared(hidden).add(correction)
  }
}

/**
 * `W_e = W + B_e A_e` with W shared, A_e and B_e of rank r: `out in + E r (out + in)` parameters instead of
 * `E out in`. B starts at zero, so that all experts start as W (as in LoRA, arXiv:2106.09685 section 4.1).
 */
export class SharedBaseLinear extends Module implements SharedLinear {
  readonly weight: Parameter // [out, in]
  readonly a: Parameter // [E, r, in]
  readonly b: Parameter // [E, out, r]

  constructor(numExperts: number, into: number, out: number, rank: number) {
    super()
    const [role, init] = ['experts', uniform(1 / Math.sqrt(into))] as const
    this.weight = new Parameter({ shape: [out, into], role, init })
    const stacked = true
    this.a = new Parameter({ shape: [numExperts, rank, into], role, init, stacked })
    this.b = new Parameter({ shape: [numExperts, out, rank], role, init: constant(0), stacked })
  }

  shared(x: Tensor): Tensor {
    return linear(x, this.weight)
  }

  /** `B_e A_e x` */
  corrections(): (expert: number, x: Tensor) => Tensor {
    const [a, b] = [this.a.unbind(), this.b.unbind()]
    return (expert, x) => linear(linear(x, sliceOf(a, expert)), sliceOf(b, expert))
  }

  weightOf(expert: number): Tensor {
    return this.weight.add(this.b.select(0, expert).matmul(this.a.select(0, expert)))
  }
}

/**
 * Gated experts with `W_e = W + B_e A_e` for each of the three projections: `3 (D F + E r (D + F))` parameters.
 *
 * @throws ConfigError for a rank below 0
 */
export class SharedBaseExperts extends SharedExperts<SharedBaseLinear> {
  constructor(options: SharedBaseExpertsOptions) {
    const { numExperts, hiddenSize, intermediateSize, rank, activation = 'silu' } = options
    checkWhole(numExperts, 1, 'experts.numExperts')
    checkWhole(rank, 0, 'experts.rank')
    const projections = {
      gate_proj: new SharedBaseLinear(numExperts, hiddenSize, intermediateSize, rank),
      up_proj: new SharedBaseLinear(numExperts, hiddenSize, intermediateSize, rank),
      down_proj: new SharedBaseLinear(numExperts, intermediateSize, hiddenSize, rank),
    }
    super(projections, { numExperts, hiddenSize, activation })
  }
}

const schema = z.strictObject({
  kind: z.literal('shared-base'),
  rank: z.int().nonnegative().default(8),
})

/** `shared-base` in recipes. */
export const sharedBaseRow: ExpertsRow<typeof schema, SharedBaseExpertsOptions> = {
  schema,
  make: options => new SharedBaseExperts(options),
}
