// Balance within kinds of samples: experts of a mixture of adapters share out those that they are for.
// Shapes: T tokens, E experts, M samples.

import { z } from 'zod'
import { eachSequence } from '../../nn/index.ts'
import { stack, type Tensor, tensor, tidy } from '../../torch/index.ts'
import type { Starts } from '../sequences.ts'
import { type LossRow, summed } from './row.ts'

/**
 * LoRAMoE's localized balance, `var(Z) / mean(Z)` over all experts and samples, `Z_nm = I_nm Q_nm`: `Q_nm` is the sum of expert n's weights over
 * the tokens of sample m, and `I_nm` is `1 + delta` where the expert is for samples of such a kind, `1 - delta` elsewhere
 * (arXiv:2312.09979 equations 5 to 7). The first half of the experts is for the first kind.
 *
 * @param weights [T, E]
 * @param isFirst of each sample, whether it is of the first kind
 */
export function localizedBalanceLoss(
  weights: Tensor,
  starts: Starts,
  { isFirst, delta }: { isFirst: readonly boolean[]; delta: number },
): Tensor {
  return tidy(() => {
    const samples = eachSequence(starts)
    const importance = stack(samples.map(({ start, length }) => weights.narrow(0, start, length).sum(0))) // [M, E]
    const experts = weights.size(1)
    const factors = samples.flatMap((_, m) =>
      Array.from({ length: experts }, (_, n) =>
        n < Math.ceil(experts / 2) === isFirst[m] ? 1 + delta : 1 - delta,
      ),
    )
    const z = importance.mul(
      tensor(factors, { shape: importance.shape }).to(weights.dtype).to(weights.device),
    )
    const mean = z.mean()
    return z.sub(mean).square().mean().div(mean)
  })
}

const schema = z
  .strictObject({
    /** Domains of the first kind of samples, as world knowledge in the paper; all others are the second. */
    domains: z.array(z.string()).min(1),
    delta: z.number().min(0).max(1).default(0.1),
    coefficient: z.number().nonnegative().default(0.1),
  })
  .optional()

/** `losses.localized` in recipes: over the gates of all mixtures of adapters. */
export const localizedRow: LossRow<typeof schema> = {
  schema,
  terms: (settings, { mixtures, starts, domains }) =>
    settings
      ? summed('localized', settings.coefficient, () => {
          const isFirst = domains.map(domain => settings.domains.includes(domain))
          return mixtures.map(weights =>
            localizedBalanceLoss(weights, starts, { isFirst, delta: settings.delta }),
          )
        })
      : [],
}
