// Experts as matrix product operators with one central tensor for all (MPOE, arXiv:2203.01104).
// Shapes: E experts, D model, F expert width, N rows grouped by expert, o outer factor, b bond.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { type Activation, activate, Module, normal, Parameter, uniform } from '../../nn/index.ts'
import { einsum, linear, type Tensor } from '../../torch/index.ts'
import { checkWhole } from '../checks.ts'
import type { Experts } from '../contracts.ts'
import type { TokenRouting } from '../routing/token.ts'
import { type ExpertsRow, mixGrouped } from './experts.ts'
import { throughGroups } from './groups.ts'
import type { FamilyOptions, LinearFamily } from './linear-family.ts'

export interface MatrixProductExpertsOptions extends FamilyOptions {
  /** Factor o; o^2 must divide hiddenSize and intermediateSize. Default 4. */
  outer?: number
  /** Bond b between the tensors, 1 to o^2: less is smaller, o^2 loses nothing. Default o^2. */
  bond?: number | undefined
}

/**
 * A matrix whose rows and columns are split in three, `out = o * p * o` and `in = o * q * o`, as a product of three
 * tensors, of which the middle one belongs to all experts:
 *
 * `W_e[(i p k), (j q l)] = sum_ab L_e[i, j, a] C[a, p, q, b] R_e[b, k, l]`
 *
 * With a bond of o^2, C alone is as large as W; with less it is smaller by `(b / o^2)^2`. An expert has `2 o^2 b`
 * parameters of its own per matrix. The paper takes the tensors from trained matrices, by singular value
 * decompositions, and into more of them; here they are three and start at random, so that W_e has the variance of a
 * Linear. The paper's random mask on the gradient of C, which all experts feed, is left out.
 */
export class MatrixProductLinear extends Module implements LinearFamily {
  readonly central: Parameter // [b, out/o^2, in/o^2, b]
  readonly left: Parameter // [E, o, o, b]
  readonly right: Parameter // [E, b, o, o]

  constructor(
    numExperts: number,
    into: number,
    out: number,
    { outer, bond }: { outer: number; bond: number },
  ) {
    super()
    const role = 'experts'
    const [p, q] = [out / outer ** 2, into / outer ** 2]
    // Each element of W_e sums b^2 products: variance b^2 * 1/b * var(C) * 1/b = var(C).
    this.central = new Parameter({ shape: [bond, p, q, bond], role, init: uniform(1 / Math.sqrt(into)) })
    const own = { role, init: normal(bond ** -0.5), stacked: true } as const
    this.left = new Parameter({ shape: [numExperts, outer, outer, bond], ...own })
    this.right = new Parameter({ shape: [numExperts, bond, outer, outer], ...own })
  }

  weightOf(expert: number): Tensor {
    const [left, right] = [this.left.select(0, expert), this.right.select(0, expert)]
    const product = einsum('ija,apqb,bkl->ipkjql', [left, this.central, right])
    const [o1, p, o2, o3, q, o4] = product.shape as [number, number, number, number, number, number]
    return product.reshape([o1 * p * o2, o3 * q * o4])
  }
}

/**
 * Gated experts with all three projections as matrix product operators. An expert's matrices are written out while it
 * runs, `(1 + b / o^2) b out in` multiplications however few rows it has: this saves memory, not time.
 *
 * @throws ConfigError when o^2 does not divide the sizes, or for a bond beyond o^2
 */
export class MatrixProductExperts extends Module implements Experts {
  readonly gate_proj: MatrixProductLinear
  readonly up_proj: MatrixProductLinear
  readonly down_proj: MatrixProductLinear
  readonly numExperts: number
  readonly activation: Activation

  constructor(options: MatrixProductExpertsOptions) {
    super()
    const { numExperts, hiddenSize, intermediateSize, activation = 'silu', outer = 4 } = options
    const factors = { outer, bond: options.bond ?? outer ** 2 }
    checkWhole(numExperts, 1, 'experts.numExperts')
    checkFactors(factors, { hiddenSize, intermediateSize })
    this.gate_proj = new MatrixProductLinear(numExperts, hiddenSize, intermediateSize, factors)
    this.up_proj = new MatrixProductLinear(numExperts, hiddenSize, intermediateSize, factors)
    this.down_proj = new MatrixProductLinear(numExperts, intermediateSize, hiddenSize, factors)
    this.numExperts = numExperts
    this.activation = activation
  }

  mix(xTD: Tensor, routing: TokenRouting): Tensor {
    return mixGrouped(xTD, routing, this)
  }

  grouped(xND: Tensor, counts: readonly number[]): Tensor {
    return throughGroups(xND, counts, (e, group) => this.expert(e, group))
  }

  expert(index: number, x: Tensor): Tensor {
    const gate = linear(x, this.gate_proj.weightOf(index))
    const up = linear(x, this.up_proj.weightOf(index))
    return linear(activate(gate, this.activation).mul(up), this.down_proj.weightOf(index))
  }
}

function checkFactors({ outer, bond }: { outer: number; bond: number }, sizes: Record<string, number>): void {
  checkWhole(outer, 1, 'experts.outer')
  checkWhole(bond, 1, 'experts.bond')
  if (bond > outer ** 2) {
    throw new ConfigError(`must be at most outer^2 = ${outer ** 2}, got ${bond}: more adds nothing`, {
      path: 'experts.bond',
    })
  }
  for (const [name, size] of Object.entries(sizes)) {
    if (size % outer ** 2 === 0) continue
    throw new ConfigError(`outer^2 = ${outer ** 2} must divide ${name} = ${size}; take another outer`, {
      path: 'experts.outer',
    })
  }
}

const schema = z.strictObject({
  kind: z.literal('matrix-product'),
  outer: z.int().positive().default(4),
  bond: z.int().positive().optional(),
})

/** `matrix-product` in recipes. */
export const matrixProductRow: ExpertsRow<typeof schema, MatrixProductExpertsOptions> = {
  schema,
  make: options => new MatrixProductExperts(options),
}
