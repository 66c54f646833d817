// The training objective of a language model.
// Shapes: N tokens, D model, V vocabulary, B sequences of T tokens.

import { atLeastF32 } from '../../nn/index.ts'
import { crossEntropyLoss, kernelFor, linear, type Tensor, tidy } from '../../torch/index.ts'

/**
 * Mean cross-entropy in nats of each target.
 *
 * @param logits [N, V]
 * @param targets i64 [N]: what each token is to predict; -100 where none counts
 */
export function meanLoss(logits: Tensor, targets: Tensor): Tensor {
  return tidy(() => crossEntropyLoss(atLeastF32(logits), targets))
}

/** The same, one loss per token: [N]. */
export function tokenLosses(logits: Tensor, targets: Tensor): Tensor {
  const none = 0 // reduction
  return tidy(() => crossEntropyLoss(atLeastF32(logits), targets, null, none))
}

/**
 * meanLoss() of `hidden head^T`, without the logits of all tokens in memory where a kernel helps.
 *
 * @param hidden [N, D]
 * @param head [V, D]
 * @param targets i64 [N]
 * @param bias [V]; default: none
 */
export function headLoss(hidden: Tensor, head: Tensor, targets: Tensor, bias?: Tensor | null): Tensor {
  const kernel = bias ? null : kernelFor('linearCrossEntropy', hidden, head)
  return tidy(() => kernel?.(hidden, head, targets) ?? meanLoss(linear(hidden, head, bias), targets))
}

/**
 * What smoothed labels add to meanLoss() for each unit of smoothing, `mean(z_target - mean_v z_v)`: cross-entropy with labels
 * `(1 - e) onehot + e / V` (arXiv:1512.00567 section 7) is `lse(z) - (1 - e) z_target - e mean_v z_v`.
 *
 * @param logits [N, V]
 * @param targets i64 [N]; -100 where none counts
 */
export function targetMargin(logits: Tensor, targets: Tensor): Tensor {
  return tidy(() => {
    const wide = atLeastF32(logits)
    const chosen = wide.gather(-1, targets.clamp(0).unsqueeze(-1)).squeeze(-1) // [N]
    return meanOfCounted(chosen.sub(wide.mean(-1)), targets)
  })
}

/** targetMargin() of `hidden head^T`: logits are linear, so that none is written out but those of targets. Parameters as of {@link headLoss}. */
export function headMargin(hidden: Tensor, head: Tensor, targets: Tensor, bias?: Tensor | null): Tensor {
  return tidy(() => {
    const ids = targets.clamp(0)
    const rows = head.indexSelect(0, ids).sub(head.mean(0)) // [N, D]
    const margins = atLeastF32(hidden).mul(rows).sum(-1) // [N]
    return meanOfCounted(bias ? margins.add(bias.indexSelect(0, ids).sub(bias.mean())) : margins, targets)
  })
}

/** The mean over tokens whose target counts. */
function meanOfCounted(values: Tensor, targets: Tensor): Tensor {
  const counts = targets.ge(0).to(values.dtype)
  return values.mul(counts).sum().div(counts.sum())
}

/**
 * Labels as HF has them, equal to the inputs: position t is scored on the id at t + 1, the last on nothing.
 *
 * @param logits [B * T, V]
 * @param labels i64 [B, T]
 */
export function shiftedLoss(logits: Tensor, labels: Tensor): Tensor {
  return tidy(() => {
    const [sequences, length] = labels.shape as [number, number]
    const scores = logits.view([sequences, length, -1]).narrow(1, 0, length - 1)
    return meanLoss(scores.flatten(0, 1), labels.narrow(1, 1, length - 1).reshape([-1]))
  })
}
