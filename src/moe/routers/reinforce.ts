// Routing as a policy that is rewarded (arXiv:1511.06297; arXiv:2202.01169, RL-R).
// Shapes: T tokens, E experts.

import { z } from 'zod'
import { noGrad, onesLike, type Tensor, tidy } from '../../torch/index.ts'
import { entropyLoss } from '../routing/entropy.ts'
import type { TokenRouting } from '../routing/token.ts'
import { type Choice, LinearRouter, largest } from './linear.ts'
import type { TokenContext } from './router.ts'
import type { RouterRow } from './row.ts'

/**
 * `e ~ softmax(x W^T)` in training, the likeliest expert in evaluation; weight 1, so that only reinforceLoss() teaches
 * the router. Its own loss `certainty`, minus the mean entropy of its choices, keeps it trying.
 */
export class ReinforceRouter extends LinearRouter {
  get active(): number {
    return 1
  }

  protected override choose(logitsTE: Tensor, { mask = null }: TokenContext): Choice {
    const probs = logitsTE.softmax(-1)
    const indices = this.training && probs.size(0) > 0 ? probs.detach().multinomial(1) : largest(probs, 1)
    const losses = { certainty: entropyLoss({ probs, mask }).neg() }
    return { indices, weights: onesLike(indices).to(probs.dtype), probs, losses }
  }
}

export interface ReinforceOptions {
  /** What is subtracted from the reward, [T] or []; it changes the variance, not the mean. Default: the mean reward. */
  baseline?: Tensor
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
  { baseline, entropy = 0.01 }: ReinforceOptions = {},
): Tensor {
  return tidy(() => {
    const real = mask === null ? onesLike(rewards) : mask.to(rewards.dtype)
    const tokens = real.sum().clamp(1)
    const advantage = noGrad(() => {
      const counted = mask === null ? rewards.detach() : rewards.detach().maskedFill(mask.logicalNot(), 0)
      return counted.sub(baseline?.detach() ?? counted.sum().div(tokens))
    })
    const chosen = probs.gather(-1, indices.clamp(0)).squeeze(-1).clamp(1e-30).log() // [T]
    const policy = chosen.mul(advantage).mul(real).sum().div(tokens).neg()
    return policy.sub(entropyLoss({ probs, mask }), entropy)
  })
}

const schema = z.strictObject({ kind: z.literal('reinforce') })

/** `reinforce` in recipes. */
export const reinforce: RouterRow<typeof schema> = {
  schema,
  router: ReinforceRouter,
  make: (_, sizes) => new ReinforceRouter(sizes),
  ownLosses: { policy: 1, certainty: 0.01 },
  /** Each token's reward is minus its own cross-entropy. */
  taught: {
    policy: (routing, tokenLosses) => reinforceLoss(routing, tokenLosses.neg(), { entropy: 0 }),
  },
}
