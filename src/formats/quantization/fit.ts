// Steps that fit a handful of numbers best, by least squares over a few candidates.

/** How much the squared error of each number counts; null: all alike. */
export type Importance = Float32Array | null

/** `sum w (x - s q)^2` is least at `s = sum w x q / sum w q^2`, for levels q in low .. high. */
export function fitScale(values: Float32Array, low: number, high: number, importance: Importance): number {
  // The extreme may lie at the end of the range or a little beyond it, where its clipping pays for finer steps.
  const ends = Array.from({ length: 19 }, (_, i) => low - 0.1 * (i - 9))
  return fitScaleTo(values, x => level(x, low, high), { plain: low, ends }, importance)
}

/** What levels the number of largest size may come to lie at. */
export interface Ends {
  /** Where nothing counts. */
  plain: number
  ends: readonly number[]
}

/** As fitScale(), for whatever levels `nearest` chooses among. */
export function fitScaleTo(
  values: Float32Array,
  nearest: (x: number) => number,
  { plain, ends }: Ends,
  importance: Importance,
): number {
  const weight = weightsOf(importance)
  const extreme = values.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0)
  if (extreme === 0) return 0
  let best = { scale: extreme / plain, error: Infinity }
  for (const end of ends) {
    const inverse = end / extreme
    let [xq, qq] = [0, 0]
    for (const [i, x] of values.entries()) {
      const q = nearest(x * inverse)
      xq += weight(i) * x * q
      qq += weight(i) * q * q
    }
    if (qq === 0 || xq === 0) continue
    const scale = xq / qq
    const error = values.reduce((sum, x, i) => sum + weight(i) * square(x - scale * nearest(x / scale)), 0)
    if (error < best.error) best = { scale, error }
  }
  return best.scale
}

export interface ScaleAndMin {
  scale: number
  /** What is subtracted, not below 0. */
  min: number
}

/** The scale and minimum of `x = scale q - min`, q in 0 .. most. */
export function fitScaleAndMin(values: Float32Array, most: number, importance: Importance): ScaleAndMin {
  const weight = weightsOf(importance)
  const lowest = values.reduce((a, b) => Math.min(a, b), 0)
  const highest = values.reduce((a, b) => Math.max(a, b), lowest)
  if (highest === lowest) return { scale: 0, min: -lowest }
  let best = { scale: (highest - lowest) / most, min: -lowest, error: Infinity }
  for (let reach = -10; reach <= 10; reach++) {
    const fitted = regress(values, weight, lowest, (most + 0.1 * reach) / (highest - lowest), most)
    if (!(fitted.scale >= 0)) continue
    const error = values.reduce((sum, x, i) => sum + weight(i) * square(x - nearest(x, fitted, most)), 0)
    if (error < best.error) best = { ...fitted, error }
  }
  return { scale: best.scale, min: best.min }
}

/** Least squares of scale and minimum, given the levels that an inverse step assigns. */
function regress(
  values: Float32Array,
  weight: (i: number) => number,
  lowest: number,
  inverse: number,
  most: number,
): ScaleAndMin {
  let [n, q1, q2, x1, xq] = [0, 0, 0, 0, 0]
  for (const [i, x] of values.entries()) {
    const q = level((x - lowest) * inverse, 0, most)
    n += weight(i)
    q1 += weight(i) * q
    q2 += weight(i) * q * q
    x1 += weight(i) * x
    xq += weight(i) * x * q
  }
  const spread = n * q2 - q1 * q1
  if (spread <= 0) return { scale: 1 / inverse, min: -lowest }
  const scale = (n * xq - q1 * x1) / spread
  const min = -(x1 - scale * q1) / n
  // The format cannot add: without a minimum the scale alone is fitted.
  return min >= 0 || q2 === 0 ? { scale, min: Math.max(0, min) } : { scale: xq / q2, min: 0 }
}

const nearest = (x: number, { scale, min }: ScaleAndMin, most: number): number =>
  scale * level(scale === 0 ? 0 : (x + min) / scale, 0, most) - min

/** The nearest whole number in a range. */
export function level(value: number, low: number, high: number): number {
  return Math.min(Math.max(Math.round(value), low), high)
}

const weightsOf =
  (importance: Importance) =>
  (i: number): number =>
    importance === null ? 1 : (importance[i] ?? 0)

const square = (value: number): number => value * value
