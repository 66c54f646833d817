// Tokens of one text to characters, ending before any of its stop texts.

import { type EncodeOptions, StreamDecoder, type Tokenizer } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import type { TextModel } from './session.ts'
import { StopTexts } from './stop-texts.ts'

export class TextWriter {
  readonly #tokenizer: Tokenizer
  readonly #decoder: StreamDecoder
  readonly #stops: StopTexts
  readonly #shown: readonly string[]

  /** @param shown special tokens that are written out; others stand for no text */
  constructor(tokenizer: Tokenizer, stop: readonly string[], shown: readonly string[] = []) {
    this.#tokenizer = tokenizer
    this.#decoder = new StreamDecoder(tokenizer)
    this.#stops = new StopTexts(stop)
    this.#shown = shown
  }

  /** Whether a stop text appeared. */
  get stopped(): boolean {
    return this.stopText !== null
  }

  /** The one that appeared. */
  get stopText(): string | null {
    return this.#stops.found
  }

  /** Takes a token and returns the text that is now certain, often nothing or several characters. */
  push(id: number): string {
    const name = this.#tokenizer.isSpecial(id) ? (this.#tokenizer.idToToken(id) ?? '') : ''
    const text = this.#shown.includes(name) ? this.#decoder.flush() + name : this.#decoder.push(id)
    return this.#stops.push(text)
  }

  /** What waited for more, once the text has ended. */
  flush(): string {
    return this.stopped ? '' : this.#stops.push(this.#decoder.flush()) + this.#stops.flush()
  }
}

/** What stood before each text in training, where texts are packed one after the other: the end of another. */
export function textStart({ specialIds: { eos, bos } }: Tokenizer): number {
  return eos ?? bos ?? 0
}

/** Token ids of prompts, at least one each. */
export async function promptIds(
  tokenizer: Tokenizer,
  prompts: readonly string[],
  options?: EncodeOptions,
): Promise<number[][]> {
  const encoded = await tokenizer.encodeBatch(prompts, options)
  return encoded.map(ids => (ids.length > 0 ? ids : [textStart(tokenizer)]))
}

/** @throws ConfigError for a tokenizer whose tokens a model does not know */
export function refuseOtherTokenizer(
  { config: { vocab_size } }: Pick<TextModel, 'config'>,
  tokenizer: Tokenizer,
): void {
  if (tokenizer.vocabSize <= vocab_size) return
  throw new ConfigError(
    `the tokenizer has ${tokenizer.vocabSize} tokens, the model only ${vocab_size}: they do not belong together`,
    { path: 'tokenizer.json' },
  )
}
