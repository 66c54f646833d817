// How likely the model itself found a token, before temperature, filters and penalties.

export interface TokenProbabilities {
  /** Natural logarithm of the token's probability. */
  logprob: number
  /** The likeliest tokens, most likely first. */
  top: { id: number; logprob: number }[]
}

/** @param logits of the next token, one per vocabulary entry */
export function tokenProbabilities(logits: Float32Array, id: number, top = 0): TokenProbabilities {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity)
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0)
  const logSum = largest + Math.log(total)
  const logprob = (token: number): number => (logits[token] ?? -Infinity) - logSum
  return {
    logprob: logprob(id),
    top: likeliest(logits, top).map(token => ({ id: token, logprob: logprob(token) })),
  }
}

/** The ids of the `count` largest logits, largest first; ties go to the lowest id. */
function likeliest(logits: Float32Array, count: number): number[] {
  const best: number[] = []
  const at = (id: number | undefined): number => logits[id ?? -1] ?? -Infinity
  for (let id = 0; id < logits.length && count > 0; id++) {
    if (best.length === count && at(id) <= at(best.at(-1))) continue
    const place = best.findIndex(other => at(id) > at(other))
    best.splice(place < 0 ? best.length : place, 0, id)
    if (best.length > count) best.pop()
  }
  return best
}
