// Matrices of three numbers in each row, chosen column by column so that later ones make up for what was lost (QMoE,
// arXiv:2310.16795, section 3).
// Shapes: R rows, K columns.

import { noGrad, type Tensor, tidy, where, zeros } from '../../torch/index.ts'

export interface TernaryMatrix {
  /** u8 [R, K]: 0 (zero), 1 (the row's least) or 2 (its most). */
  symbols: Tensor
  /** f32 [R]: the least of each row, at most 0, and its most, at least 0. */
  least: Tensor
  most: Tensor
}

/** Columns after which those that follow are told what was lost. */
const columnsAtOnce = 64

/**
 * `q = most` above half of it, `least` below half of it, else 0, within GPTQ: `e_j = (w_j - q_j) / U_jj`, `w_k <- w_k - e_j U_jk`.
 *
 * @param rows f32 [R, K]
 * @param factor f32 [K, K], see inverseFactor(); null: every number for itself
 */
export function ternarize(rows: Tensor, factor: Tensor | null): TernaryMatrix {
  return noGrad(() =>
    tidy(() => {
      const [least, most] = [rows.amin([1]).clamp(null, 0), rows.amax([1]).clamp(0, null)] // [R]
      if (factor === null)
        return { symbols: symbolsOf(rows, least.unsqueeze(1), most.unsqueeze(1)), least, most }
      const symbols = zeros(rows.shape, { dtype: 'u8' })
      const left = rows.clone() // [R, K]: what is still to be rounded
      for (let first = 0; first < rows.size(1); first += columnsAtOnce)
        tidy(() => roundColumns(left, symbols, first, { factor, least, most }))
      return { symbols, least, most }
    }),
  )
}

/** f32 [R, K] */
export function ternaryValues({ symbols, least, most }: TernaryMatrix): Tensor {
  return tidy(() => {
    const [low, high] = [least.unsqueeze(1), most.unsqueeze(1)].map(side => side.expand(symbols.shape))
    return where(symbols.eq(1), low as Tensor, where(symbols.eq(2), high as Tensor, zeros(symbols.shape)))
  })
}

function symbolsOf(values: Tensor, least: Tensor, most: Tensor): Tensor {
  return tidy(() => {
    const isMost = values.gt(most.div(2)).to('u8')
    return isMost.mul(2).add(values.lt(least.div(2)).to('u8'))
  })
}

function roundColumns(
  left: Tensor,
  symbols: Tensor,
  first: number,
  { factor, least, most }: { factor: Tensor; least: Tensor; most: Tensor },
): void {
  const count = Math.min(columnsAtOnce, left.size(1) - first)
  const block = left.narrow(1, first, count) // [R, B]
  const inner = factor.narrow(0, first, count).narrow(1, first, count) // [B, B]
  const errors = zeros(block.shape)
  for (let j = 0; j < count; j++)
    tidy(() => {
      const w = block.select(1, j) // [R]
      const chosen = symbolsOf(w, least, most)
      symbols.select(1, first + j).copy_(chosen)
      const value = most.mul(chosen.eq(2).to('f32')).add(least.mul(chosen.eq(1).to('f32')))
      const lost = w.sub(value).div(inner.select(0, j).select(0, j))
      errors.select(1, j).copy_(lost)
      const after = inner.select(0, j).narrow(0, j + 1, count - j - 1) // [B - j - 1]
      block.narrow(1, j + 1, count - j - 1).sub_(lost.unsqueeze(1).mul(after))
    })
  const rest = left.size(1) - first - count
  const across = factor.narrow(0, first, count).narrow(1, first + count, rest) // [B, rest]
  left.narrow(1, first + count, rest).sub_(errors.matmul(across))
}
