// BLEU of a corpus (Papineni et al. 2002), as sacrebleu computes it by default: words of `13a`, case kept, smoothed `exp`.

import { mostCounts, ngramCounts, sharedCount } from './ngrams.ts'
import { words13a } from './words-13a.ts'

/** n of the longest sequences that count. */
const longest = 4

/** What BLEU follows from; of sequences of 1 to 4 words each. */
export interface BleuCounts {
  /** Sequences that a reference has too, each as often as there. */
  correct: readonly number[]
  total: readonly number[]
  /** Words written, and words of the references. */
  length: number
  referenceLength: number
}

/** 0 to 100, and what it follows from. */
export interface BleuScore extends BleuCounts {
  score: number
  /** In percent. */
  precisions: readonly number[]
  /** What texts are taken down by that are too short: 1 is nothing. */
  brevityPenalty: number
}

/**
 * BLEU of texts against their references.
 *
 * @param references of each text one or more
 */
export function bleu(texts: readonly string[], references: readonly (readonly string[])[]): BleuScore {
  const counts = texts.map((text, i) => countsOf(text, references[i] ?? []))
  const sum = (of: (counts: BleuCounts) => number): number => counts.reduce((all, each) => all + of(each), 0)
  const sums = (of: 'correct' | 'total'): number[] =>
    Array.from({ length: longest }, (_, n) => sum(each => each[of][n] ?? 0))
  return bleuOf({
    correct: sums('correct'),
    total: sums('total'),
    length: sum(({ length }) => length),
    referenceLength: sum(({ referenceLength }) => referenceLength),
  })
}

function countsOf(text: string, references: readonly string[]): BleuCounts {
  const words = words13a(text.trimEnd())
  const others = references.map(reference => words13a(reference.trimEnd()))
  const orders = Array.from({ length: longest }, (_, i) => i + 1)
  return {
    correct: orders.map(n =>
      sharedCount(ngramCounts(words, n), mostCounts(others.map(other => ngramCounts(other, n)))),
    ),
    total: orders.map(n => Math.max(0, words.length - n + 1)),
    length: words.length,
    referenceLength: nearestLength(
      words.length,
      others.map(({ length }) => length),
    ),
  }
}

/** The reference's length that is nearest to the text's, the shorter one of two. */
const nearestLength = (length: number, others: readonly number[]): number =>
  others.toSorted((a, b) => Math.abs(a - length) - Math.abs(b - length) || a - b)[0] ?? 0

/**
 * `BP exp(1/4 sum_n log p_n)` with `p_n = correct_n / total_n` and `BP = min(1, exp(1 - r / c))` of r words where there should be c. Where
 * nothing of length n is correct, `p_n = 1 / (2^k total_n)` of the k-th such n (mteval-v13a.pl; Chen and Cherry 2014, method 3); where
 * there is nothing so long, or nothing correct at all, the score is 0.
 */
export function bleuOf(counts: BleuCounts): BleuScore {
  const { correct, total, length, referenceLength } = counts
  const isShort = length < referenceLength
  const brevityPenalty = !isShort ? 1 : length > 0 ? Math.exp(1 - referenceLength / length) : 0
  const isWrong = correct.every(count => count === 0)
  let smoothing = 1
  const precisions = total.map((all, i) => {
    if (isWrong || all === 0) return 0
    const right = correct[i] ?? 0
    if (right > 0) return (100 * right) / all
    smoothing *= 2
    return 100 / (smoothing * all)
  })
  const logs = precisions.map(precision => Math.log(precision))
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length
  return { ...counts, precisions, brevityPenalty, score: brevityPenalty * Math.exp(mean) }
}
