// What a store is told of tokens before they are read.

/** New tokens that pass the model together. */
export interface Pass {
  ids: readonly number[]
  /** Whether a text begins with them. */
  begins: boolean
  /** Whether they are one of each text, as in decoding. */
  isDecoding: boolean
}
