// Texts that may not become just anything: what rules say of the next token.
// Shapes: V vocabulary.

/** Rules that a text keeps to. */
export interface TokenConstraint {
  /** Which tokens may come next, a bit for each: the n-th number has those of ids 32n to 32n+31, lowest first. */
  allowed(): Int32Array
  /** Takes a token that was allowed. */
  accept(id: number): void
}

/**
 * Takes away the chances of tokens that may not come next.
 *
 * @param logits [V], changed
 * @returns whether any token is left
 */
export function maskLogits(logits: Float32Array, allowed: Int32Array): boolean {
  let isAnyLeft = false
  for (let id = 0; id < logits.length; id++) {
    const isAllowed = (((allowed[id >> 5] ?? 0) >>> (id & 31)) & 1) === 1
    if (isAllowed) isAnyLeft = true
    else logits[id] = -Infinity
  }
  return isAnyLeft
}
