// The training objective of a causal language model.

import { atLeastF32 } from '../nn/index.ts'
import {
  crossEntropyLoss,
  fusedLinearCrossEntropy,
  hasKernel,
  linear,
  type Tensor,
  tidy,
} from '../torch/index.ts'

/**
 * Mean cross-entropy in nats of each next token.
 *
 * @param logits [B, T, V]
 * @param targets i64 [B, T]: the token after each position; -100 where none counts
 */
export function nextTokenLoss(logits: Tensor, targets: Tensor): Tensor {
  return tidy(() => crossEntropyLoss(atLeastF32(logits.flatten(0, 1)), targets.reshape([-1])))
}

/** The same, one loss per token: [B*T]. */
export function tokenLosses(logits: Tensor, targets: Tensor): Tensor {
  const none = 0 // reduction
  return tidy(() => crossEntropyLoss(atLeastF32(logits.flatten(0, 1)), targets.reshape([-1]), null, none))
}

/**
 * nextTokenLoss() of `hidden head^T`, without the logits of all tokens in memory where a kernel helps.
 *
 * @param hidden [B, T, D]
 * @param head [V, D]
 * @param targets i64 [B, T]
 * @param bias [V]; default: none
 */
export function headLoss(hidden: Tensor, head: Tensor, targets: Tensor, bias?: Tensor | null): Tensor {
  if (bias || !hasKernel('linearCrossEntropy', hidden, head))
    return tidy(() => nextTokenLoss(linear(hidden, head, bias), targets))
  return tidy(() => fusedLinearCrossEntropy(hidden.flatten(0, 1), head, targets.reshape([-1])))
}

/** Labels as HF has them, equal to the inputs: position t is scored on the id at t + 1, the last on nothing. */
export function shiftedLoss(logits: Tensor, labels: Tensor): Tensor {
  return tidy(() => {
    const length = labels.size(1)
    return nextTokenLoss(logits.narrow(1, 0, length - 1), labels.narrow(1, 1, length - 1))
  })
}
