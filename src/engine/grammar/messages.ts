// What an engine and its thread of grammars say to each other.

/** What the thread is started with: the bytes that each token adds, one token after the other. */
export interface VocabularyBytes {
  bytes: Uint8Array
  /** Where each token ends. */
  ends: Uint32Array
  /** V, which may be more. */
  width: number
}

/** A grammar that a text is to be held to. */
export interface OpenText {
  kind: 'open'
  id: number
  /** EBNF. */
  grammar: string
  /** Whether it came from outside, and may be none. */
  isForeign: boolean
  stopIds: readonly number[]
  /** See TokenMasks. */
  masks: SharedArrayBuffer
}

/** To the thread. Numbers tell texts apart. */
export type ToGrammars =
  | OpenText
  | { kind: 'accept'; id: number; token: number }
  | { kind: 'close'; id: number }

/** From it: a grammar is there, and the first mask; or it cannot be read. */
export interface FromGrammars {
  id: number
  problem: string | null
}
