// The likeliest texts as a whole, by going on with several at a time (beam search; the form of its score is arXiv:1609.08144
// equation 14's, with transformers' `length_penalty`).
// Shapes: N beams, V vocabulary.

import { ConfigError } from '../../errors.ts'
import { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import { decoderSession } from './decoder-session.ts'
import { encoderDecoderSession } from './encoder-decoder-session.ts'
import { roomAfter, type StopReason } from './growing-text.ts'
import { type BeamSession, refuseBeginnings, type SessionOptions, type TextModel } from './session.ts'

export interface BeamOptions extends Pick<SessionOptions, 'task' | 'kv' | 'beginnings'> {
  /** Texts that are gone on with. Default 4. */
  beams?: number
  /** A in `log p / length^A`: above 0 for longer texts, below 0 for shorter ones. Default 1. */
  lengthPenalty?: number
  /** Texts that are returned, at most `beams`. Default 1. */
  nBest?: number
  /** Default 128, or what is left of the model's positions. */
  maxNewTokens?: number
  /** Ids that end a text; they are counted and not given out. Default: the config's eos_token_id. */
  stopIds?: readonly number[]
  signal?: AbortSignal
}

export interface BeamText {
  ids: number[]
  /** `logProb / length^A`, the end counted. */
  score: number
  /** In nats. */
  logProb: number
  reason: Exclude<StopReason, 'stop-text' | 'deadline'>
}

/** A text that goes on: how likely it is, and which row of the session it is in. */
interface Beam {
  ids: readonly number[]
  logProb: number
  row: number
}

/**
 * The best texts that a prompt is continued with, or answered, the best first. The event loop turns between tokens.
 *
 * @throws ConfigError for options that cannot be
 */
export async function beamSearch(
  model: TextModel,
  prompt: readonly number[],
  options: BeamOptions = {},
): Promise<BeamText[]> {
  const { stopIds = [model.config.eos_token_id].flat().flatMap(id => id ?? []), ...rest } = options
  const checked = checkBeams(rest)
  const limit = Math.min(checked.maxNewTokens, roomAfter(model.config, prompt))
  const { task, kv, beginnings } = options
  refuseBeginnings(model, beginnings)
  const settings = { prompts: [prompt], texts: checked.beams, newTokens: limit, beginnings, task, kv }
  using session =
    model instanceof EncoderDecoderLM
      ? encoderDecoderSession(model, settings)
      : decoderSession(model, settings)
  return await searchBeams(session, {
    ...checked,
    maxNewTokens: limit,
    atLimit: limit < checked.maxNewTokens ? 'positions' : 'max-new-tokens',
    stopIds,
    ...(options.signal && { signal: options.signal }),
  })
}

type Checked = Required<Pick<BeamOptions, 'beams' | 'lengthPenalty' | 'nBest' | 'maxNewTokens'>>

export interface BeamSearch extends Checked, Pick<BeamOptions, 'stopIds' | 'signal'> {
  /** Why a text ends that has `maxNewTokens`. Default: `max-new-tokens`. */
  atLimit?: BeamText['reason']
}

function checkBeams(options: BeamOptions): Checked {
  const { beams = 4, lengthPenalty = 1, nBest = 1, maxNewTokens = 128 } = options
  const require = (ok: boolean, path: string, value: number, range: string): void => {
    if (!ok) throw new ConfigError(`must be ${range}, got ${value}`, { path })
  }
  require(Number.isInteger(beams) && beams >= 1, 'beams', beams, 'a whole number above 0')
  require(Number.isInteger(nBest) &&
    nBest >= 1 &&
    nBest <= beams, 'nBest', nBest, `in 1..${beams}, the beams`)
  require(Number.isFinite(lengthPenalty), 'lengthPenalty', lengthPenalty, 'a number')
  require(Number.isInteger(maxNewTokens) &&
    maxNewTokens >= 1, 'maxNewTokens', maxNewTokens, 'a whole number above 0')
  return { beams, lengthPenalty, nBest, maxNewTokens }
}

/**
 * Of all ways to go on the likeliest 2 N are looked at, in order: those that end are kept, the first N others go on. It is over when no text
 * that goes on can become better than the N that have ended: their log-probability only falls, and a length of at most
 * `maxNewTokens` is what they could be divided by.
 *
 * @param session of N texts of the same prompt
 */
export async function searchBeams(
  session: BeamSession,
  { beams, lengthPenalty, nBest, maxNewTokens, atLimit = 'max-new-tokens', stopIds, signal }: BeamSearch,
): Promise<BeamText[]> {
  const stops = new Set(stopIds)
  const scoreOf = (logProb: number, length: number): number => logProb / length ** lengthPenalty
  const ended: BeamText[] = []
  const end = (ids: readonly number[], logProb: number, reason: BeamText['reason']): void => {
    const length = ids.length + (reason === 'end-of-text' ? 1 : 0)
    ended.push({ ids: [...ids], logProb, reason, score: scoreOf(logProb, length) })
    ended.sort((a, b) => b.score - a.score)
    ended.splice(beams)
  }
  let live: Beam[] = [{ ids: [], logProb: 0, row: 0 }]
  let scores = session.next(session.first)
  for (let length = 1; ; length++) {
    const next: Beam[] = []
    for (const { beam, id, logProb } of likeliest(live, scores, 2 * beams)) {
      if (next.length === beams) break
      if (stops.has(id)) end(beam.ids, logProb, 'end-of-text')
      else next.push({ ids: [...beam.ids, id], logProb, row: beam.row })
    }
    const best = scoreOf(next[0]?.logProb ?? -Infinity, lengthPenalty > 0 ? maxNewTokens : length + 1)
    const isOver = next.length === 0 || (ended.length === beams && (ended.at(-1) as BeamText).score >= best)
    const reason = length === maxNewTokens ? atLimit : 'aborted'
    if (isOver || length === maxNewTokens || signal?.aborted) {
      if (!isOver) for (const { ids, logProb } of next) end(ids, logProb, reason)
      return ended.slice(0, nBest)
    }
    const rows = Array.from({ length: beams }, (_, i) => next[i] ?? (next[0] as Beam))
    session.reorder(rows.map(({ row }) => row))
    scores = session.next(rows.map(({ ids }) => [ids.at(-1) as number]))
    live = next.map((beam, row) => ({ ...beam, row }))
    await new Promise(setImmediate)
  }
}

interface Candidate {
  beam: Beam
  id: number
  logProb: number
}

/** The likeliest ways to go on, the first of equals first. */
function likeliest(live: readonly Beam[], scores: readonly Float32Array[], count: number): Candidate[] {
  const best: Candidate[] = []
  for (const beam of live) {
    const logits = scores[beam.row] as Float32Array
    const offset = beam.logProb - logSum(logits)
    for (const [id, logit] of logits.entries()) {
      const logProb = logit + offset
      if (!(logProb > -Infinity) || (best.length === count && logProb <= (best.at(-1) as Candidate).logProb))
        continue
      const at = best.findIndex(other => other.logProb < logProb)
      best.splice(at < 0 ? best.length : at, 0, { beam, id, logProb })
      if (best.length > count) best.pop()
    }
  }
  return best
}

/** `log sum exp` */
function logSum(logits: Float32Array): number {
  const largest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity)
  return largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0))
}
