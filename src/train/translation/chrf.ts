// chrF2 of a corpus (Popovic 2015, 2016), as sacrebleu computes it by default: sequences of up to six characters, without spaces.

import { ngramCounts, sharedCount } from './ngrams.ts'

/** n of the longest sequences that count. */
const longest = 6

export interface ChrfOptions {
  /** How much more recall counts than precision. Default 2. */
  beta?: number
}

/**
 * `(1 + b^2) P R / (b^2 P + R)`, 0 to 100: P is the mean over n of the share of the texts' sequences of n characters that their references
 * have too, R that of the references' sequences; of those n of which both have any.
 *
 * @param references one of each text
 */
export function chrf(
  texts: readonly string[],
  references: readonly string[],
  { beta = 2 }: ChrfOptions = {},
): number {
  const orders = Array.from({ length: longest }, (_, i) => orderCounts(texts, references, i + 1)).filter(
    ({ written, wanted }) => written > 0 && wanted > 0,
  )
  const mean = (share: (counts: OrderCounts) => number): number =>
    orders.reduce((sum, counts) => sum + share(counts), 0) / Math.max(1, orders.length)
  const precision = mean(({ shared, written }) => shared / written)
  const recall = mean(({ shared, wanted }) => shared / wanted)
  if (precision + recall === 0) return 0
  return (100 * (1 + beta ** 2) * precision * recall) / (beta ** 2 * precision + recall)
}

/** Sequences of n characters. */
interface OrderCounts {
  /** In the texts, in the references, and in both. */
  written: number
  wanted: number
  shared: number
}

function orderCounts(texts: readonly string[], references: readonly string[], n: number): OrderCounts {
  const counts = { written: 0, wanted: 0, shared: 0 }
  for (const [i, text] of texts.entries()) {
    const [written, wanted] = [text, references[i] ?? ''].map(charactersOf) as [string[], string[]]
    counts.written += Math.max(0, written.length - n + 1)
    counts.wanted += Math.max(0, wanted.length - n + 1)
    counts.shared += sharedCount(ngramCounts(written, n), ngramCounts(wanted, n))
  }
  return counts
}

const charactersOf = (text: string): string[] => [...text.replace(/\s+/gu, '')]
