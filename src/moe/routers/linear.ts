// What routers that score experts with a linear map share; they differ in whom they choose.
// Shapes: T tokens, D model, E experts, K slots per token.

import { ConfigError } from '../../errors.ts'
import { atLeastF32, type Init, Module, Parameter, type Role, uniform } from '../../nn/index.ts'
import { fullPrecision, noGrad, rand, type Tensor, tidy } from '../../torch/index.ts'
import { type TokenRouting, withoutPadding } from '../routing/token.ts'
import type { Router, TokenContext } from './router.ts'

export interface LinearRouterOptions {
  hiddenSize: number
  numExperts: number
  /** How the map starts. Default: as a Linear. */
  init?: Init
  /** What its weights count as. Default router. */
  role?: Role
  /**
   * In training, the router's input is multiplied by uniform noise from `1 - jitter` to `1 + jitter` (Switch, 0.01;
   * arXiv:2101.03961). The experts see no noise. Default 0.
   */
  jitter?: number
  /** A learnt bias of the logits (gpt-oss, fairseq). Default false. */
  bias?: boolean
}

/** The part of a routing that follows from the logits. */
export type Choice = Omit<TokenRouting, 'kind' | 'logits' | 'mask'> & { logits?: Tensor }

/** `z = x W^T + b` in f32 or wider, from which `choose()` picks. */
export abstract class LinearRouter extends Module implements Router {
  readonly weight: Parameter // [E, D]
  readonly bias: Parameter | null // [E]
  readonly numExperts: number
  readonly jitter: number
  /** `x W^T` of x [T, D] and W [E, D]. May be changed at any time: see computeSteadily(). */
  product: (xTD: Tensor, weightED: Tensor) => Tensor = (xTD, weightED) => xTD.matmul(weightED.t())
  /** The same of the sigmoid of scores, where they have one. */
  sigmoid: (x: Tensor) => Tensor = x => x.sigmoid()

  /** @param outputs rows of the map, when there are more than experts */
  constructor(
    { hiddenSize, numExperts, jitter = 0, bias = false, init, role = 'router' }: LinearRouterOptions,
    outputs = numExperts,
  ) {
    super()
    if (!(jitter >= 0 && jitter < 1)) {
      throw new ConfigError(`must be at least 0 and below 1, got ${jitter}`, { path: 'router.jitter' })
    }
    const start = uniform(1 / Math.sqrt(hiddenSize))
    this.weight = new Parameter({ shape: [outputs, hiddenSize], role, init: init ?? start })
    this.bias = bias ? new Parameter({ shape: [outputs], role, init: start }) : null
    this.numExperts = numExperts
    this.jitter = jitter
  }

  abstract get active(): number

  get isCausal(): boolean {
    return true
  }

  forward(xTD: Tensor, context: TokenContext = {}): TokenRouting {
    // Mixed precision would round logits to bf16, and with them the choice (arXiv:2101.03961, "selective precision").
    const routing = fullPrecision(xTD.device, () =>
      tidy((): TokenRouting => {
        const x = this.#jittered(atLeastF32(xTD))
        const logits = this.score(x) // [T, E]
        return { kind: 'token', logits, mask: context.mask ?? null, ...this.choose(logits, context, x) }
      }),
    )
    return withoutPadding(routing)
  }

  protected score(xTD: Tensor): Tensor {
    const logits = this.product(xTD, atLeastF32(this.weight))
    return this.bias ? logits.add(atLeastF32(this.bias)) : logits
  }

  /** @param logitsTE [T, E] */
  protected abstract choose(logitsTE: Tensor, context: TokenContext, xTD: Tensor): Choice

  #jittered(xTD: Tensor): Tensor {
    if (!this.training || this.jitter === 0) return xTD
    const noise = rand(xTD.shape, { device: xTD.device })
      .mul(2 * this.jitter)
      .add(1 - this.jitter)
    return xTD.mul(noise.to(xTD.dtype))
  }
}

/** i64 [T, k]: the places of the k largest scores, largest first; ties go to the lowest, which libtorch's topk ignores. */
export function largest(scoresTE: Tensor, k: number): Tensor {
  return scoresTE.detach().sort(-1, true)[1].narrow(-1, 0, k)
}

/** `f` of the rows that are no padding, in their places; padding rows stay as they are. Without a gradient. */
export function onRealRows(rows: Tensor, mask: Tensor | null, f: (real: Tensor) => Tensor): Tensor {
  if (mask === null) return f(rows)
  return noGrad(() => {
    const places = mask.nonzero().squeeze(-1)
    return rows
      .detach()
      .clone()
      .indexCopy_(0, places, f(rows.detach().indexSelect(0, places)))
  })
}

/** Throws ConfigError unless 1 <= k <= most. */
export function checkTopK(
  topK: number,
  most: number,
  path = 'router.k',
  what = 'the number of experts',
): void {
  if (Number.isInteger(topK) && topK >= 1 && topK <= most) return
  throw new ConfigError(`must be in 1..${most} (${what}), got ${topK}`, { path })
}
