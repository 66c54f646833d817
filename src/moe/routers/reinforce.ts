// Routing as a policy that is rewarded (arXiv:1511.06297; arXiv:2202.01169, RL-R).
// Shapes: T tokens, E experts.

import { z } from 'zod'
import { atLeastF32, constant, Parameter } from '../../nn/index.ts'
import { noGrad, onesLike, type Tensor, tidy } from '../../torch/index.ts'
import { entropyLoss } from '../routing/entropy.ts'
import type { TokenRouting } from '../routing/token.ts'
import { type Choice, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'
import type { TokenContext } from './router.ts'
import type { RouterRow } from './row.ts'

/**
 * `e ~ softmax(x W^T)` in training, the likeliest expert in evaluation; weight 1, so that only reinforceLoss() teaches
 * the router. Beside it `value`, `v x + b`, is what a token's reward is expected to be: a baseline that is learnt, as most of a reward
 * is the token's own difficulty. Its own loss `certainty`, minus the mean entropy of its choices, keeps it trying.
 */
export class ReinforceRouter extends LinearRouter {
  readonly value_weight: Parameter // [1, D]
  readonly value_bias: Parameter // [1]

  constructor(options: LinearRouterOptions) {
    super(options)
    const zero = (...shape: number[]): Parameter =>
      new Parameter({ shape, role: 'router', init: constant(0) })
    this.value_weight = zero(1, options.hiddenSize)
    this.value_bias = zero(1)
  }

  get active(): number {
    return 1
  }

  protected override choose(logitsTE: Tensor, { mask = null }: TokenContext, xTD: Tensor): Choice {
    const probs = logitsTE.softmax(-1)
    const indices = this.training && probs.size(0) > 0 ? probs.detach().multinomial(1) : largest(probs, 1)
    const losses = { certainty: entropyLoss({ probs, mask }).neg() }
    const value = xTD.detach().matmul(atLeastF32(this.value_weight).t()).squeeze(-1).add(this.value_bias) // [T]
    return { indices, weights: onesLike(indices).to(probs.dtype), probs, value, losses }
  }
}

export interface ReinforceOptions {
  /** What is subtracted from the reward, [T] or []; it changes the variance, not the mean. Default: the mean reward. */
  baseline?: Tensor
  /** Whether what is left is divided by its root mean square, so that steps are as large while losses fall. Default false. */
  normalized?: boolean
  /** Coefficient of the policy's entropy, which is to stay high. Default 0.01. */
  entropy?: number
}

/**
 * `-mean_t (R_t - b) log p(e_t) - beta H`: its gradient is, in expectation, that of the negative mean reward.
 *
 * @param rewards [T]: minus the loss of each token, or of its sequence; no gradient flows into it
 */
export function reinforceLoss(
  { probs, indices, mask }: TokenRouting,
  rewards: Tensor,
  { baseline, normalized = false, entropy = 0.01 }: ReinforceOptions = {},
): Tensor {
  return tidy(() => {
    const real = realOf(rewards, mask)
    const tokens = real.sum().clamp(1)
    const advantage = noGrad(() => {
      const counted = withoutMasked(rewards, mask)
      const left = counted.sub(baseline?.detach() ?? counted.sum().div(tokens)).mul(real)
      return normalized ? left.div(left.square().sum().div(tokens).sqrt().clamp(1e-8)) : left
    })
    const chosen = probs.gather(-1, indices.clamp(0)).squeeze(-1).clamp(1e-30).log() // [T]
    const policy = chosen.mul(advantage).sum().div(tokens).neg()
    return policy.sub(entropyLoss({ probs, mask }), entropy)
  })
}

/** `mean_t (R_t - value_t)^2`: what teaches the baseline. */
function valueLoss({ value, mask }: TokenRouting, rewards: Tensor): Tensor {
  return tidy(() => {
    const real = realOf(rewards, mask)
    const wrong = withoutMasked(rewards, mask).sub(value ?? 0)
    return wrong.square().mul(real).sum().div(real.sum().clamp(1))
  })
}

const realOf = (rewards: Tensor, mask: Tensor | null): Tensor =>
  mask === null ? onesLike(rewards) : mask.to(rewards.dtype)

const withoutMasked = (rewards: Tensor, mask: Tensor | null): Tensor =>
  mask === null ? rewards.detach() : rewards.detach().maskedFill(mask.logicalNot(), 0)

const schema = z.strictObject({ kind: z.literal('reinforce') })

/** `reinforce` in recipes. */
export const reinforce: RouterRow<typeof schema> = {
  schema,
  router: ReinforceRouter,
  make: (_, sizes) => new ReinforceRouter(sizes),
  ownLosses: { policy: 1, value: 1, certainty: 0.01 },
  /** Each token's reward is minus its own cross-entropy. */
  taught: {
    policy: (routing, tokenLosses) =>
      reinforceLoss(routing, tokenLosses.neg(), {
        ...(routing.value && { baseline: routing.value }),
        normalized: true,
        entropy: 0,
      }),
    value: (routing, tokenLosses) => valueLoss(routing, tokenLosses.neg()),
  },
}
