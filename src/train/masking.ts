// Masked-token prediction: what an encoder is trained on (BERT, arXiv:1810.04805 section 3.1).
// Shapes: B sequences, T positions.

import { onesLike, type Tensor, tidy, where, zerosLike } from '../torch/index.ts'

/** Share of a sequence's positions that are to be predicted. */
const targetShare = 0.15
/** Of these so many are masked, so many hold another token, and the rest are left as they are. */
const treatments = { masked: 0.8, other: 0.1 } as const

/** Numbers that maskTokens() draws for each position. */
export const drawsPerToken = 3

/**
 * Picks 15% of each sequence's positions, at least one, and predicts the tokens that are there. In the input 80% of them
 * are the mask token, 10% a token drawn from all others, 10% unchanged: what is not masked must be understood too, since
 * it may be wrong.
 *
 * @param text i64 [B, T]
 * @param maskId one more than the largest id of the text's vocabulary
 * @param draws [B, T, 3], uniform on [0, 1): which positions, what becomes of them, and the other token
 */
export function maskTokens(text: Tensor, maskId: number, draws: Tensor): { inputs: Tensor; targets: Tensor } {
  return tidy(() => {
    const [choice, treatment, other] = draws.unbind(-1) as [Tensor, Tensor, Tensor] // [B, T] each
    const count = Math.max(1, Math.round(targetShare * text.size(1)))
    const [, places] = choice.topk(count)
    const isTarget = zerosLike(text).scatter(-1, places, onesLike(places)).gt(0)
    const isMasked = treatment.lt(treatments.masked)
    const isKept = treatment.ge(treatments.masked + treatments.other)
    const drawn = where(isKept, text, other.mul(maskId).long())
    const shown = drawn.maskedFill(isMasked, maskId)
    return { inputs: where(isTarget, shown, text), targets: text.maskedFill(isTarget.logicalNot(), -100) }
  })
}
