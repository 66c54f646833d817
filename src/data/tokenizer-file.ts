// Tokenizers from Hugging Face tokenizer.json files, of whatever model.

import { readFileSync, statSync } from 'node:fs'
import { type Decoder, Tokenizer as NativeTokenizer } from 'tokenizers'
import { FormatError, invariant } from '../errors.ts'
import type { DecodeOptions, EncodeOptions, SpecialIds, Tokenizer } from './tokenizer.ts'
import { byteLevelTokenizerJson, tokenBytes, tokenizerConfigJson } from './tokenizer-bytes.ts'
import { findSpecialIds } from './tokenizer-special.ts'

const largestFile = 256 * 2 ** 20 // the largest in use take 40 MB
const largestId = 16_000_000 // an embedding has a row for each id; the largest in use has 262,144

/** The parts of tokenizer.json that are read here; the library checks and reads the rest. */
interface TokenizerJson {
  added_tokens?: { id: number; content: string; special: boolean }[]
  decoder?: DecoderJson | null
}

interface DecoderJson {
  type: string
  decoders?: DecoderJson[]
}

/** Opens a tokenizer.json. Throws FormatError when it is damaged or something else. */
export function loadTokenizer(file: string): Tokenizer {
  const text = read(file)
  try {
    return new FileTokenizer(text, file)
  } catch (cause) {
    if (cause instanceof FormatError) throw cause
    throw new FormatError(`is damaged or no tokenizer.json: ${(cause as Error).message}`, { file, cause })
  }
}

/**
 * A tokenizer from the text of a tokenizer.json, whatever it came from.
 *
 * @param name names the origin in errors
 */
export function parseTokenizer(text: string, name: string, specialIds: SpecialIds): Tokenizer {
  try {
    return new FileTokenizer(text, name, specialIds)
  } catch (cause) {
    if (cause instanceof FormatError) throw cause
    throw new FormatError(`holds a damaged tokenizer: ${(cause as Error).message}`, { file: name, cause })
  }
}

/** One token per byte after the special tokens: needs no training and knows every text. */
export function byteTokenizer(): Tokenizer {
  return new FileTokenizer(byteLevelTokenizerJson(), null)
}

/** Contents of the files of byteTokenizer() in a model folder, by name. */
export function byteTokenizerFiles(): Record<string, string> {
  return { 'tokenizer.json': byteLevelTokenizerJson(), 'tokenizer_config.json': tokenizerConfigJson }
}

function read(file: string): string {
  let bytes: number
  try {
    bytes = statSync(file).size
    if (bytes <= largestFile) return readFileSync(file, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new FormatError(`cannot be read (${code}): it must be a tokenizer.json file`, { file, cause })
  }
  throw new FormatError(`is too large for a tokenizer.json (${bytes} bytes)`, { file })
}

class FileTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly specialIds: SpecialIds
  readonly #json: TokenizerJson
  readonly #native: NativeTokenizer
  readonly #decoder: Decoder | null
  readonly #special: ReadonlySet<number>
  readonly #byteLevel: boolean
  #plain: NativeTokenizer | undefined

  constructor(text: string, file: string | null, specialIds?: SpecialIds) {
    const name = file ?? 'tokenizer.json'
    this.#json = parse(text, name)
    this.#native = NativeTokenizer.fromString(text)
    this.#decoder = this.#native.getDecoder()
    this.#byteLevel = isByteLevel(this.#json.decoder)
    const added = this.#json.added_tokens ?? []
    this.#special = new Set(added.filter(token => token.special).map(token => token.id))
    this.vocabSize = 1 + Object.values(this.#native.getVocab(true)).reduce((a, b) => Math.max(a, b), -1)
    if (this.vocabSize > largestId)
      throw new FormatError(`has ids up to ${this.vocabSize - 1}`, { file: name })
    this.specialIds = specialIds ?? findSpecialIds(file, token => this.#native.tokenToId(token) ?? undefined)
  }

  async encode(text: string, options: EncodeOptions = {}): Promise<number[]> {
    const [ids] = await this.encodeBatch([text], options)
    invariant(ids, 'one text gives one list of ids')
    return ids
  }

  async encodeBatch(
    texts: readonly string[],
    { specials = 'token', addSpecialTokens = false }: EncodeOptions = {},
  ): Promise<number[][]> {
    const native = specials === 'token' ? this.#native : this.#withoutSpecials()
    const encodings = await native.encodeBatch([...texts], { addSpecialTokens })
    return encodings.map(encoding => encoding.getIds())
  }

  async encodeWithEnds(
    text: string,
    { specials = 'token', addSpecialTokens = false }: EncodeOptions = {},
  ): Promise<{ ids: number[]; ends: number[] }> {
    const native = specials === 'token' ? this.#native : this.#withoutSpecials()
    const encoding = await native.encode(text, null, { addSpecialTokens })
    return { ids: encoding.getIds(), ends: encoding.getOffsets().map(([, end = 0]) => end) }
  }

  decode(ids: readonly number[], { skipSpecialTokens = false }: DecodeOptions = {}): string {
    const tokens = ids
      .filter(id => !(skipSpecialTokens && this.isSpecial(id)))
      .map(id => this.idToToken(id))
      .filter(token => token !== undefined)
    return this.#decoder?.decode(tokens) ?? tokens.join(' ')
  }

  idToToken(id: number): string | undefined {
    return this.#native.idToToken(id) ?? undefined
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id)
  }

  idToBytes(id: number): Uint8Array | undefined {
    const token = this.#byteLevel ? this.idToToken(id) : undefined
    return token === undefined ? undefined : tokenBytes(token)
  }

  /** The library always looks for added tokens in text; without their list it cannot. */
  #withoutSpecials(): NativeTokenizer {
    const added_tokens = (this.#json.added_tokens ?? []).filter(token => !token.special)
    this.#plain ??= NativeTokenizer.fromString(JSON.stringify({ ...this.#json, added_tokens }))
    return this.#plain
  }
}

function parse(text: string, file: string): TokenizerJson {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new FormatError('is not JSON: it is damaged or no tokenizer.json', { file, cause })
  }
  if (typeof json !== 'object' || json === null || !('model' in json)) {
    throw new FormatError("has no 'model': it is no tokenizer.json", { file })
  }
  return json as TokenizerJson
}

/** Whether every token decodes to the same bytes wherever it stands. */
function isByteLevel(decoder: DecoderJson | null | undefined): boolean {
  if (decoder?.type === 'Sequence') return decoder.decoders?.every(isByteLevel) ?? false
  return decoder?.type === 'ByteLevel'
}
