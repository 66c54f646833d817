// From logits to the next token.

import { ConfigError } from '../../errors.ts'

export interface SamplingOptions {
  /** Divides the logits; 0 takes the most likely token. Default 1. */
  temperature?: number
  /** Keep the k most likely tokens; 0 keeps all. Default 0. */
  topK?: number
  /** Keep the most likely tokens until their probabilities reach p. Default 1. */
  topP?: number
  /** Drop tokens less likely than this times the most likely one (arXiv:2407.01082). Default 0. */
  minP?: number
  /** Divides positive logits of tokens that occurred, multiplies negative ones (arXiv:1909.05858). Default 1. */
  repetitionPenalty?: number
}

/** Refuses values outside of their range. */
export function checkSampling(options: SamplingOptions): Required<SamplingOptions> {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options
  const require = (ok: boolean, path: string, value: number, range: string): void => {
    if (!ok) throw new ConfigError(`must be ${range}, got ${value}`, { path })
  }
  require(temperature >= 0, 'temperature', temperature, 'at least 0')
  require(Number.isInteger(topK) && topK >= 0, 'topK', topK, 'a whole number, 0 for all')
  require(topP > 0 && topP <= 1, 'topP', topP, 'above 0 and at most 1')
  require(minP >= 0 && minP <= 1, 'minP', minP, 'between 0 and 1')
  require(repetitionPenalty > 0, 'repetitionPenalty', repetitionPenalty, 'above 0')
  return { temperature, topK, topP, minP, repetitionPenalty }
}

interface Candidate {
  id: number
  weight: number
}

/**
 * Picks a token. Filters apply in the order repetition penalty, temperature, top-k, top-p, min-p.
 *
 * @param logits of the next token, one per vocabulary entry; changed by the penalty
 * @param history ids that occurred
 * @param uniform gives numbers in [0, 1)
 */
export function sampleToken(
  logits: Float32Array | Float64Array,
  history: Iterable<number>,
  options: Required<SamplingOptions>,
  uniform: () => number,
): number {
  penalize(logits, history, options.repetitionPenalty)
  if (options.temperature === 0) return argmax(logits)
  return draw(keepLikely(candidates(logits, options.temperature), options), uniform)
}

function penalize(logits: Float32Array | Float64Array, history: Iterable<number>, penalty: number): void {
  if (penalty === 1) return
  for (const id of new Set(history)) {
    const logit = logits[id]
    if (logit !== undefined) logits[id] = logit > 0 ? logit / penalty : logit * penalty
  }
}

/** The lowest index among the largest. */
function argmax(values: ArrayLike<number>): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if ((values[i] ?? 0) > (values[best] ?? 0)) best = i
  return best
}

/** Softmax weights relative to the most likely token, most likely first. */
function candidates(logits: ArrayLike<number>, temperature: number): Candidate[] {
  const largest = logits[argmax(logits)] ?? 0
  return Array.from(logits, (logit, id) => ({ id, weight: Math.exp((logit - largest) / temperature) })).sort(
    (a, b) => b.weight - a.weight || a.id - b.id,
  )
}

function keepLikely(sorted: Candidate[], { topK, topP, minP }: Required<SamplingOptions>): Candidate[] {
  const top = topK > 0 ? sorted.slice(0, topK) : sorted
  const enough = topP * top.reduce((sum, { weight }) => sum + weight, 0)
  let reached = 0
  const nucleus = top.filter(({ weight }) => {
    const isNeeded = reached < enough
    reached += weight
    return isNeeded
  })
  return nucleus.filter(({ weight }, i) => i === 0 || weight >= minP) // the first one's weight is 1
}

function draw(kept: readonly Candidate[], uniform: () => number): number {
  let left = uniform() * kept.reduce((sum, { weight }) => sum + weight, 0)
  const picked = kept.find(({ weight }) => {
    left -= weight
    return left < 0
  })
  return (picked ?? kept.at(-1))?.id ?? 0 // rounding may leave a crumb after the last
}
