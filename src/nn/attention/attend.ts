// Scaled dot-product attention, written out: what every kind of attention here comes down to.
// Shapes: B batch, T queries, S positions attended to, H heads, G key/value heads, D key width, E value width.

import { cat, type Tensor } from '../../torch/index.ts'
import type { Dropout } from '../dropout.ts'
import { atLeastF32 } from '../precision.ts'

/** Below every score, above -inf: a row that may attend to nothing stays finite. */
const blockedScore = -1e30

export interface ScoreOptions {
  /** Multiplies the scores. */
  scale: number
  /** bool, true where a query may not look: [T, S] or [B, 1, T, S]; null blocks nothing. */
  blocked: Tensor | null
  /** Added to the scores: [1, H, T, S] (T5's relative positions). Default: nothing. */
  bias?: Tensor | null
  /** Of the probabilities. Default: none. */
  dropout?: Dropout | undefined
  /** `[H]`: a logit per head that takes part in the softmax and contributes no value (gpt-oss). Default: none. */
  sinks?: Tensor | null
}

/**
 * `softmax(scale q k^T + bias) v` per head; each key/value head serves H / G query heads.
 *
 * @param queries [B, H, T, D]
 * @param keys [B, G, S, D]
 * @param values [B, G, S, E]
 * @returns [B, H, T, E]
 */
export function attend(queries: Tensor, keys: Tensor, values: Tensor, options: ScoreOptions): Tensor {
  const [batch, heads, length, width] = queries.shape as [number, number, number, number]
  const groups = keys.size(1)
  const perGroup = (heads / groups) * length
  // Query heads of one group stack as rows against their shared keys: keys are never repeated.
  const stacked = queries.mul(options.scale).reshape([batch, groups, perGroup, width]) // [B, G, H/G * T, D]
  const scores = atLeastF32(stacked.matmul(keys.transpose(2, 3)).view([batch, heads, length, -1])) // [B, H, T, S]
  const kept = shares(scores, options).to(values.dtype)
  const probs = options.dropout?.forward(kept) ?? kept
  const mixed = probs.reshape([batch, groups, perGroup, -1]).matmul(values) // [B, G, H/G * T, E]
  return mixed.view([batch, heads, length, values.size(-1)])
}

/** [B, H, T, S] -> [B, H, T, S] */
function shares(scores: Tensor, { blocked, bias = null, sinks = null }: ScoreOptions): Tensor {
  const biased = bias === null ? scores : scores.add(bias)
  const seen = blocked === null ? biased : biased.maskedFill_(blocked, blockedScore)
  if (sinks === null) return seen.softmax(-1)
  const [batch, heads, length, positions] = scores.shape as [number, number, number, number]
  const sink = sinks.to(scores.dtype).view([1, heads, 1, 1]).expand([batch, heads, length, 1])
  return cat([seen, sink], -1).softmax(-1).narrow(-1, 0, positions)
}
