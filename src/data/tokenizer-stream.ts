// Text from tokens as they are generated: never half a character.

import type { DecodeOptions, Tokenizer } from './tokenizer.ts'

/** Tokens that may wait for the rest of a character; more cannot belong to one, so the text is broken as it is. */
const longestWait = 16

/** Decodes one token at a time; what `push` and `flush` return, joined, is the text of all tokens. */
export class StreamDecoder {
  readonly #tokenizer: Tokenizer
  readonly #skipSpecialTokens: boolean
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true })
  #ids: number[] = []
  /** The ids before this index were returned; they stay as context, since spaces may depend on it. */
  #returned = 0

  constructor(tokenizer: Tokenizer, { skipSpecialTokens = true }: DecodeOptions = {}) {
    this.#tokenizer = tokenizer
    this.#skipSpecialTokens = skipSpecialTokens
  }

  /** Takes a token and returns the text that is now certain, often nothing or several characters. */
  push(id: number): string {
    if (this.#skipSpecialTokens && this.#tokenizer.isSpecial(id)) return ''
    const bytes = this.#tokenizer.idToBytes(id)
    if (bytes !== undefined) return this.#utf8.decode(bytes, { stream: true })
    this.#ids.push(id)
    return this.#advance(this.#ids.length - this.#returned > longestWait)
  }

  /** Returns what still waited for more, as U+FFFD where a character is incomplete. */
  flush(): string {
    const rest = this.#utf8.decode() + this.#advance(true)
    this.#ids = []
    this.#returned = 0
    return rest
  }

  /** For tokens whose text depends on their neighbours: compares the text with and without the waiting ones. */
  #advance(force: boolean): string {
    const before = this.#tokenizer.decode(this.#ids.slice(0, this.#returned))
    const text = this.#tokenizer.decode(this.#ids)
    if (!force && (text.endsWith('\ufffd') || text.length <= before.length)) return ''
    this.#ids = this.#ids.slice(this.#returned)
    this.#returned = this.#ids.length
    return text.slice(before.length)
  }
}
