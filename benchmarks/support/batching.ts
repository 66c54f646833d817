// What benchmarks/batch.ts asks of its contestants.

export interface BatchSetting {
  file: string
  vocab: number
  /** Texts that are written together. */
  texts: number
  /** Tokens of each one's prompt. */
  prompt: number
}

/** As many texts that begin differently, so that they choose different experts. */
export function promptsOf({ vocab, texts, prompt }: BatchSetting): number[][] {
  return Array.from({ length: texts }, (_, text) =>
    Array.from({ length: prompt }, (_, i) => 3 + ((7919 * (i + 1) * (text + 1)) % (vocab - 3))),
  )
}
