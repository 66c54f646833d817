// What a store is told of tokens before they are read.

/** New tokens that pass the model together. */
export interface Pass {
  ids: readonly number[]
  /** Whether a text begins with them. */
  begins: boolean
  /** Whether no text has more than one, as in decoding. */
  isDecoding: boolean
}
