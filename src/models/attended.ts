// What each position attends to, and how positions are counted where there is padding.
// Shapes: B batch, T new positions, S positions with the cached ones.

import { type AttentionMask, causalMask } from '../nn/index.ts'
import { noGrad, type Tensor, tidy } from '../torch/index.ts'

/** Nothing later than a position is seen, nor what is out of its window. */
export function causalAttention(
  ids: Tensor,
  past: number,
  mask: Tensor | null,
  window: number | null,
): AttentionMask {
  if (past === 0 && mask === null) return { kind: 'causal', window }
  return noGrad(() =>
    tidy(() => {
      const causal = causalMask(ids.size(1), { past, window, device: ids.device })
      const { blocked: padding } = openAttention(mask)
      return { kind: 'blocked', blocked: causal && padding ? causal.logicalOr(padding) : (causal ?? padding) }
    }),
  )
}

/** Everything but padding is seen: [B, 1, 1, S]. */
export function openAttention(mask: Tensor | null): Extract<AttentionMask, { kind: 'blocked' }> {
  const blocked = mask === null ? null : noGrad(() => tidy(() => mask.logicalNot().unsqueeze(1).unsqueeze(1)))
  return { kind: 'blocked', blocked }
}

/** [B, T]: positions count real tokens only, so that left padding does not shift them. */
export function paddedPositions(mask: Tensor, length: number): Tensor {
  const counted = mask.long().cumsum(1).sub(1).clamp(0)
  return counted.narrow(1, mask.size(1) - length, length)
}
