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
  /**
   * Keep the tokens that are about as surprising as the next one is on average, until their probabilities reach this share
   * (locally typical sampling). Default 1: all.
   */
  typical?: number
  /** Divides positive logits of tokens that occurred, multiplies negative ones (arXiv:1909.05858). Default 1. */
  repetitionPenalty?: number
  /** Subtracted from the logits of tokens that were written. Default 0. */
  presencePenalty?: number
  /** Subtracted from the logits of written tokens, once for each time. Default 0. */
  frequencyPenalty?: number
  /** Added to the logits of tokens by id; -100 excludes one for all purposes. Default: nothing. */
  logitBias?: Readonly<Record<number, number>>
}

/** A text so far. */
export interface TextSoFar {
  prompt: readonly number[]
  written: readonly number[]
}

/** Refuses values outside of their range. */
export function checkSampling(options: SamplingOptions, vocabSize = Infinity): Required<SamplingOptions> {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, typical = 1, repetitionPenalty = 1 } = options
  const { presencePenalty = 0, frequencyPenalty = 0, logitBias = {} } = options
  const require = (ok: boolean, path: string, value: number, range: string): void => {
    if (!ok) throw new ConfigError(`must be ${range}, got ${value}`, { path })
  }
  require(temperature >= 0, 'temperature', temperature, 'at least 0')
  require(Number.isInteger(topK) && topK >= 0, 'topK', topK, 'a whole number, 0 for all')
  require(topP > 0 && topP <= 1, 'topP', topP, 'above 0 and at most 1')
  require(minP >= 0 && minP <= 1, 'minP', minP, 'between 0 and 1')
  require(typical > 0 && typical <= 1, 'typical', typical, 'above 0 and at most 1')
  require(repetitionPenalty > 0, 'repetitionPenalty', repetitionPenalty, 'above 0')
  require(Number.isFinite(presencePenalty), 'presencePenalty', presencePenalty, 'a number')
  require(Number.isFinite(frequencyPenalty), 'frequencyPenalty', frequencyPenalty, 'a number')
  for (const [id, bias] of Object.entries(logitBias)) {
    const token = Number(id)
    const isToken = Number.isInteger(token) && token >= 0 && token < vocabSize
    require(isToken, 'logitBias', token, `for ids in 0..${vocabSize - 1}`)
    require(Number.isFinite(bias), `logitBias.${id}`, bias, 'a number')
  }
  return {
    temperature,
    topK,
    topP,
    minP,
    typical,
    repetitionPenalty,
    presencePenalty,
    frequencyPenalty,
    logitBias,
  }
}

/**
 * Picks a token. Penalties and biases come first, then temperature, top-k, top-p, min-p, typical.
 *
 * @param logits of the next token, one per vocabulary entry; changed by penalties and biases
 * @param uniform gives numbers in [0, 1)
 */
export function sampleToken(
  logits: Float32Array | Float64Array,
  text: TextSoFar,
  options: Required<SamplingOptions>,
  uniform: () => number,
): number {
  adjust(logits, text, options)
  if (options.temperature === 0) return argmax(logits)
  const weights = relativeWeights(logits, options.temperature)
  return draw(weights, keepLikely(weights, options), uniform)
}

function adjust(
  logits: Float32Array | Float64Array,
  { prompt, written }: TextSoFar,
  { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias }: Required<SamplingOptions>,
): void {
  if (repetitionPenalty !== 1)
    for (const id of new Set([...prompt, ...written]))
      change(logits, id, logit => (logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty))
  if (presencePenalty !== 0)
    for (const id of new Set(written)) change(logits, id, logit => logit - presencePenalty)
  if (frequencyPenalty !== 0) for (const id of written) change(logits, id, logit => logit - frequencyPenalty)
  for (const [id, bias] of Object.entries(logitBias)) change(logits, Number(id), logit => logit + bias)
}

function change(logits: Float32Array | Float64Array, id: number, to: (logit: number) => number): void {
  const logit = logits[id]
  if (logit !== undefined) logits[id] = to(logit)
}

/** The lowest index among the largest. */
function argmax(values: ArrayLike<number>): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if ((values[i] ?? 0) > (values[best] ?? 0)) best = i
  return best
}

/** Softmax weights relative to the most likely token, whose weight is 1. */
function relativeWeights(logits: ArrayLike<number>, temperature: number): Float64Array {
  const largest = logits[argmax(logits)] ?? 0
  return Float64Array.from(logits, logit => Math.exp((logit - largest) / temperature))
}

/** The ids to draw from. They are sorted, most likely first, only when a filter needs their order. */
function keepLikely(
  weights: Float64Array,
  { topK, topP, minP, typical }: Required<SamplingOptions>,
): Uint32Array {
  let ids = Uint32Array.from(weights.keys())
  if (topK > 0 || topP < 1) {
    ids.sort((a, b) => at(weights, b) - at(weights, a) || a - b)
    if (topK > 0) ids = ids.subarray(0, topK)
    ids = ids.subarray(0, countFor(weights, ids, topP))
  }
  const possible = ids.filter(id => at(weights, id) >= Math.max(minP, Number.MIN_VALUE)) // none that cannot come at all
  return typical < 1 ? typicalIds(weights, possible, typical) : possible
}

/**
 * The ids whose surprise `-log p` is nearest to the entropy `H = -sum p log p`, as many as reach the share
 * (arXiv:2202.00666 equation 10).
 */
function typicalIds(weights: Float64Array, ids: Uint32Array, share: number): Uint32Array {
  const sum = total(weights, ids)
  const surprise = (id: number): number => -Math.log(at(weights, id) / sum)
  const entropy = ids.reduce((all, id) => all + (at(weights, id) / sum) * surprise(id), 0)
  const distance = new Map(Array.from(ids, id => [id, Math.abs(surprise(id) - entropy)]))
  const nearest = ids.toSorted((a, b) => (distance.get(a) ?? 0) - (distance.get(b) ?? 0) || a - b)
  return nearest.subarray(0, countFor(weights, nearest, share))
}

/** How many of `ids`, in order, it takes to reach a share of their weight. */
function countFor(weights: Float64Array, ids: Uint32Array, share: number): number {
  const enough = share * total(weights, ids)
  let reached = 0
  const last = ids.findIndex(id => {
    reached += at(weights, id)
    return reached >= enough
  })
  return last < 0 ? ids.length : last + 1
}

function draw(weights: Float64Array, ids: Uint32Array, uniform: () => number): number {
  let left = uniform() * total(weights, ids)
  const picked = ids.find(id => {
    left -= at(weights, id)
    return left < 0
  })
  return picked ?? ids.at(-1) ?? 0 // rounding may leave a crumb after the last
}

const total = (weights: Float64Array, ids: Uint32Array): number =>
  ids.reduce((sum, id) => sum + at(weights, id), 0)

const at = (weights: Float64Array, id: number): number => weights[id] ?? 0
