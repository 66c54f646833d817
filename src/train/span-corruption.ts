// What T5 and Switch learn from plain text: spans are cut out of the source, and are the target (arXiv:1910.10683 section 3.1.4).
// Shapes: T tokens.

import { z } from 'zod'
import type { TokenPair } from './pairs.ts'

/** `objective: span-corruption` in recipes. */
export const spanCorruptionSchema = z.strictObject({
  kind: z.literal('span-corruption'),
  /** Share of tokens that are cut out. */
  density: z.number().positive().lt(1).default(0.15),
  /** Mean length of a span, in tokens. */
  meanLength: z.number().min(1).default(3),
})

export type SpanCorruption = Pick<z.infer<typeof spanCorruptionSchema>, 'density' | 'meanLength'>

/** Random numbers that corruptSpans() takes for each token. */
export const drawsPerCorruption = 2

/**
 * Of T tokens `n = round(density T)` are noise, in `s = round(n / meanLength)` spans, at least one each and at most T - 1.
 */
export function spanCounts(length: number, { density, meanLength }: SpanCorruption) {
  const noise = Math.min(Math.max(Math.round(length * density), 1), length - 1)
  const spans = Math.min(Math.max(Math.round(noise / meanLength), 1), noise, length - noise)
  return { noise, spans }
}

/**
 * Spans of text and of noise by turns, text first; lengths of either are a random composition of their sum (`random_spans_noise_mask` of
 * google-research/text-to-text-transfer-transformer, t5/data/preprocessors.py). In the source the i-th sentinel stands for the i-th span
 * of noise; the target is each sentinel with its span.
 *
 * @param draws [T][2] in [0, 1)
 * @param sentinels ids of `<extra_id_0>`, `<extra_id_1>` ...
 * @param end what ends both; null: nothing
 */
export function corruptSpans(
  ids: readonly number[],
  draws: readonly (readonly number[])[],
  settings: SpanCorruption,
  { sentinels, end }: { sentinels: readonly number[]; end: number | null },
): TokenPair {
  const { noise, spans } = spanCounts(ids.length, settings)
  const drawsOf = (of: 0 | 1): number[] => draws.map(draw => draw[of] ?? 0)
  const text = composition(ids.length - noise, spans, drawsOf(0))
  const cut = composition(noise, spans, drawsOf(1))
  const source: number[] = []
  const target: number[] = []
  let at = 0
  for (let i = 0; i < spans; i++) {
    const [kept = 0, gone = 0, sentinel = 0] = [text[i], cut[i], sentinels[i]]
    source.push(...ids.slice(at, at + kept), sentinel)
    target.push(sentinel, ...ids.slice(at + kept, at + kept + gone))
    at += kept + gone
  }
  const ended = end === null ? [] : [end]
  return { source: [...source, ...ended], target: [...target, ...ended] }
}

/** `total` as a sum of `parts` numbers above 0, all such sums equally likely: borders between items are drawn without replacement. */
function composition(total: number, parts: number, draws: readonly number[]): number[] {
  const borders = Array.from({ length: total - 1 }, (_, i) => i + 1)
    .sort((a, b) => (draws[a - 1] ?? 0) - (draws[b - 1] ?? 0))
    .slice(0, parts - 1)
    .sort((a, b) => a - b)
  const ends = [...borders, total]
  return ends.map((end, i) => end - (ends[i - 1] ?? 0))
}
