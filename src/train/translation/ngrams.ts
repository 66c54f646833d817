// Sequences of n items, and how many of them two texts share.

/** How often each sequence of n items occurs. */
export function ngramCounts(items: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>()
  for (let i = 0; i + n <= items.length; i++) {
    const ngram = items.slice(i, i + n).join('\u0000')
    counts.set(ngram, (counts.get(ngram) ?? 0) + 1)
  }
  return counts
}

/** `sum min(a, b)` over sequences. */
export function sharedCount(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  let shared = 0
  for (const [ngram, count] of a) shared += Math.min(count, b.get(ngram) ?? 0)
  return shared
}

/** Of several texts the most that any of them has. */
export function mostCounts(all: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const most = new Map<string, number>()
  for (const counts of all)
    for (const [ngram, count] of counts) most.set(ngram, Math.max(count, most.get(ngram) ?? 0))
  return most
}
