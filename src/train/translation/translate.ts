// How well an encoder-decoder writes the targets of held-out pairs, by what it writes.

import type { Tokenizer } from '../../data/index.ts'
import { beamSearch, type EncoderDecoderLM, generateBatch, type Rows } from '../../models/index.ts'
import { evenlySpaced } from '../evaluate.ts'
import type { PairRows } from '../pair-rows.ts'
import type { TokenPair } from '../pairs.ts'
import { bleu } from './bleu.ts'
import { chrf } from './chrf.ts'

export interface TranslationScore {
  /** Texts that were written. */
  texts: number
  /** 0 to 100 each, as sacrebleu has them by default. */
  bleu: number
  chrf: number
}

export interface Translation extends TranslationScore {
  domains: (TranslationScore & { name: string })[]
}

export interface TranslateOptions {
  /** Names of the corpus's domains. */
  domains: readonly string[]
  /** Texts that are written together, but for beams. */
  batchSize: number
  /** Batches, spread evenly over the split; null: all of it. */
  batches: number | null
  /** Texts that a search goes on with. Default: none is made, and the likeliest token is taken each time. */
  beams?: number | undefined
  /** A in `log p / length^A` of the search. Default 1. */
  lengthPenalty?: number | undefined
  /** Called after each batch with the share that is done. */
  onProgress?: (fraction: number) => void
}

/**
 * Writes the targets of pairs and compares them with what they should be. One that begins with a special token, as that of its language, is
 * begun with it; one ends at twice its source's tokens and ten, at the latest, or at as many as rows may have.
 */
export async function translate(
  model: EncoderDecoderLM,
  rows: PairRows,
  tokenizer: Tokenizer,
  options: TranslateOptions,
): Promise<Translation> {
  const { domains, batchSize, batches, onProgress } = options
  const chosen = evenlySpaced(rows.count, batches === null ? rows.count : batches * batchSize)
  const written: { text: string; reference: string; domain: number }[] = []
  const textOf = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecialTokens: true })
  model.eval()
  for (let start = 0; start < chosen.length; start += batchSize) {
    const some = chosen.slice(start, start + batchSize)
    const pairs = rows.pairs(some)
    const most = pairs.map(({ source }) => Math.min(2 * source.length + 10, rows.sequenceLength))
    const texts = await writtenTargets(model, pairs, tokenizer, { ...options, most })
    const domainsOf = rows.domains(some)
    for (const [i, { target }] of pairs.entries())
      written.push({ text: textOf(texts[i] ?? []), reference: textOf(target), domain: domainsOf[i] ?? 0 })
    onProgress?.(Math.min(1, (start + batchSize) / chosen.length))
  }
  const score = (some: typeof written): TranslationScore => ({
    texts: some.length,
    bleu: bleu(
      some.map(({ text }) => text),
      some.map(({ reference }) => [reference]),
    ).score,
    chrf: chrf(
      some.map(({ text }) => text),
      some.map(({ reference }) => reference),
    ),
  })
  return {
    ...score(written),
    domains: domains.flatMap((name, d) => {
      const some = written.filter(({ domain }) => domain === d)
      return some.length === 0 ? [] : [{ name, ...score(some) }]
    }),
  }
}

/** Ids of what the model writes for each source, of each at most so many. */
async function writtenTargets(
  model: EncoderDecoderLM,
  pairs: readonly TokenPair[],
  tokenizer: Tokenizer,
  { beams, lengthPenalty, most }: TranslateOptions & { most: readonly number[] },
): Promise<number[][]> {
  const beginnings = pairs.map(({ target }) => beginningOf(target, tokenizer))
  if (beams === undefined) return await greedily(model, pairs, beginnings, most)
  const texts: number[][] = []
  for (const [i, { source }] of pairs.entries()) {
    const [best] = await beamSearch(model, source, {
      beams,
      ...(lengthPenalty !== undefined && { lengthPenalty }),
      beginnings: [beginnings[i] ?? []],
      maxNewTokens: most[i] as number,
    })
    texts.push(best?.ids ?? [])
  }
  return texts
}

async function greedily(
  model: EncoderDecoderLM,
  pairs: readonly TokenPair[],
  beginnings: Rows,
  most: readonly number[],
): Promise<number[][]> {
  const texts: number[][] = pairs.map(() => [])
  const prompts = pairs.map(({ source }) => source)
  for await (const { text, id } of generateBatch(model, prompts, {
    ...{ temperature: 0, maxNewTokens: Math.max(...most), beginnings },
  }))
    texts[text]?.push(id)
  return texts.map((ids, i) => ids.slice(0, most[i])) // what comes later changes nothing before it
}

/** The special token that a target begins with, unless it is its end. */
function beginningOf([first]: readonly number[], tokenizer: Tokenizer): number[] {
  const isMark = first !== undefined && tokenizer.isSpecial(first) && first !== tokenizer.specialIds.eos
  return isMark ? [first] : []
}
