// Which positions a token does not see.

import { arange, type Device, noGrad, type Tensor, tidy } from '../../torch/index.ts'

export interface CausalMaskOptions {
  /** Positions in the cache before the new ones; default 0. */
  past?: number
  /** Attend to the last `window` positions only (`i - j < window`); default: to all. */
  window?: number | null
  device?: Device
}

/** [T, past + T], true where position j is later than i, or out of i's window. Null when nothing is blocked. */
export function causalMask(
  length: number,
  { past = 0, window = null, device = 'cpu' }: CausalMaskOptions = {},
): Tensor | null {
  const total = past + length
  if (length === 1 && (window === null || total <= window)) return null
  return noGrad(() =>
    tidy(() => {
      const rows = arange(past, total, 1, { device }).unsqueeze(1) // [T, 1]
      const columns = arange(0, total, 1, { device }) // [S]
      const future = columns.gt(rows) // [T, S]
      return window === null ? future : future.logicalOr(rows.sub(columns).ge(window))
    }),
  )
}
