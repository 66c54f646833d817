// Experts with a low-rank addition to their matrices.
// Shapes: E experts, of which A are adapted, D model, F expert width, r rank, I inputs and O outputs of a projection.

import {
  decodedStacks,
  denseWeights,
  type Experts,
  type Projections,
  type StackedExperts,
  type TokenRouting,
} from '../../moe/index.ts'
import { constant, Module, Parameter, uniform } from '../../nn/index.ts'
import { recompute, type Tensor, tensor } from '../../torch/index.ts'
import type { Share } from '../selection.ts'
import type { LoraOptions } from './lora-linear.ts'

/** `W_e + alpha / r B_e A_e` for some experts of a stack of matrices. A starts as a Linear's weights do and B at 0. */
export class LoraStack extends Module {
  readonly lora_A: Parameter // [A, r, I]
  readonly lora_B: Parameter // [A, O, r]
  readonly experts: Share
  readonly scale: number

  /** @param shape [E, O, I] of the stack */
  constructor(
    [all = 0, outputs = 0, inputs = 0]: readonly number[],
    experts: Share,
    { rank, alpha }: Pick<LoraOptions, 'rank' | 'alpha'>,
  ) {
    super()
    const adapted = experts === 'all' ? all : experts.length
    const init = uniform(1 / Math.sqrt(inputs))
    this.lora_A = new Parameter({ shape: [adapted, rank, inputs], role: 'adapter', stacked: true, init })
    this.lora_B = new Parameter({
      shape: [adapted, outputs, rank],
      role: 'adapter',
      stacked: true,
      init: constant(0),
    })
    this.experts = experts
    this.scale = alpha / rank
  }

  /** A stack [E, O, I] with what is added to it. */
  addedTo(stack: Tensor): Tensor {
    const delta = this.lora_B.matmul(this.lora_A).to(stack.dtype) // [A, O, I]; autocast narrows products
    if (this.experts === 'all') return stack.add(delta, this.scale)
    return stack.indexAdd(0, tensor(this.experts.map(BigInt), { device: stack.device }), delta, this.scale)
  }
}

/** Which experts of each projection are adapted; null: none. */
export type AdaptedProjections = Record<'up' | 'down', Share | null>

/**
 * Stacked experts whose matrices are what they were and a low-rank addition, each written out when it is needed. Dropout within an
 * expert's hidden units stays; there is none before the addition, which is to matrices and not to what they give.
 */
export class LoraExperts extends Module implements Experts {
  /** What the additions are to. */
  readonly base: StackedExperts
  readonly up: LoraStack | null
  readonly down: LoraStack | null

  constructor(base: StackedExperts, adapted: AdaptedProjections, options: LoraOptions) {
    super()
    this.base = base
    const stackOf = (stack: Parameter, share: Share | null): LoraStack | null =>
      share && new LoraStack(stack.shape, share, options)
    this.up = stackOf(base.stacks.up, adapted.up)
    this.down = stackOf(base.stacks.down, adapted.down)
  }

  get numExperts(): number {
    return this.base.numExperts
  }

  /** Encoded matrices are decoded anew in backward, with what is added to them. */
  mix(x: Tensor, routing: TokenRouting): Tensor {
    const mixed = (rows: Tensor, chosen: TokenRouting): Tensor =>
      denseWeights(this.matrices()).mix(rows, chosen, this.base.form)
    return this.base.stacks.up.encoding === null ? mixed(x, routing) : recompute(mixed, [x, routing])
  }

  grouped(x: Tensor, counts: readonly number[]): Tensor {
    return denseWeights(this.matrices()).grouped(x, counts, this.base.form)
  }

  expert(index: number, x: Tensor): Tensor {
    return denseWeights(this.matrices()).expert(index, x, this.base.form)
  }

  /** What is added, by the name of what it is added to, in the order of the base's parameters. */
  get stacks(): { name: string; stack: LoraStack }[] {
    const { up, down } = this.base.stacks
    return [...this.base.namedParameters()].flatMap(([name, parameter]) => {
      const stack = parameter === up ? this.up : parameter === down ? this.down : null
      return stack ? [{ name, stack }] : []
    })
  }

  /** Every expert's matrices, with what is added. */
  matrices(): Projections {
    const { up, down, ...biases } = decodedStacks(this.base.stacks)
    return { up: this.up?.addedTo(up) ?? up, down: this.down?.addedTo(down) ?? down, ...biases }
  }
}
