// Which parameters are matrices: optimizers that look at rows and columns treat these in their own way.

import type { Declaration } from '../../nn/index.ts'

/** Whether a parameter is a matrix [O, I], or a stack [E, O, I] of an expert's each. */
export function isMatrix({ shape, stacked }: Pick<Declaration, 'shape' | 'stacked'>): boolean {
  return shape.length === (stacked ? 3 : 2)
}
