// What the rest of Switchyard needs of a tokenizer.

/** Ids of the tokens that stand for no text; undefined where a tokenizer has none. */
export interface SpecialIds {
  pad: number | undefined
  bos: number | undefined
  eos: number | undefined
}

export interface EncodeOptions {
  /**
   * How to read a special token that is written out in the text, as `</s>`: as that token (what prompts built from
   * templates need; the default) or as plain characters (right for text of unknown origin).
   */
  specials?: 'token' | 'text'
  /** Add the tokens that the tokenizer's file puts around a text, as Mixtral's `<s>` before it. Default: false. */
  addSpecialTokens?: boolean
}

export interface DecodeOptions {
  /** Default: false. */
  skipSpecialTokens?: boolean
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** One more than the largest id: the rows an embedding needs. */
  readonly vocabSize: number
  readonly specialIds: SpecialIds
  /** Token ids of a text. Runs beside the event loop. */
  encode(text: string, options?: EncodeOptions): Promise<number[]>
  /** encode() of several texts together. */
  encodeBatch(texts: readonly string[], options?: EncodeOptions): Promise<number[][]>
  /** encode(), and where in the text each token ends, in Unicode code points; 0 for tokens that are put around it. */
  encodeWithEnds(text: string, options?: EncodeOptions): Promise<{ ids: number[]; ends: number[] }>
  /** The text of token ids. */
  decode(ids: readonly number[], options?: DecodeOptions): string
  /** The token as the vocabulary writes it; undefined for an id that is not in it. */
  idToToken(id: number): string | undefined
  /** Whether an id stands for no text. */
  isSpecial(id: number): boolean
  /** The bytes that a token stands for, where each token stands for fixed bytes (byte-level tokenizers). */
  idToBytes(id: number): Uint8Array | undefined
}
