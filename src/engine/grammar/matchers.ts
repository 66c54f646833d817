// Grammars of one vocabulary: compiled once, kept while they are in use, and matched by texts.
// Shapes: V vocabulary.

import type { CompiledGrammar, GrammarCompiler as Compiling, GrammarMatcher } from '@mlc-ai/web-xgrammar'
import type { VocabularyBytes } from './messages.ts'
import { mayFollow, spelled } from './token-bytes.ts'
import { loadXGrammar, type XGrammar } from './xgrammar.ts'

/** Compiled grammars that are kept. */
const mostKept = 32

interface Compiler {
  xgrammar: XGrammar
  compiler: Compiling
}

export class Matchers {
  readonly #bytes: readonly Uint8Array[]
  /** xgrammar wants a token that ends texts; this one no model writes. */
  readonly #noToken: number
  #compiler: Promise<Compiler> | null = null
  /** Where grammars from outside are read first: one that is none ends whatever reads it. */
  #reader: XGrammar | null = null
  /** By text, those that were used last at the end. */
  readonly #compiled = new Map<string, CompiledGrammar>()

  constructor({ bytes, ends, width }: VocabularyBytes) {
    this.#bytes = Array.from(ends, (end, id) => bytes.subarray(ends[id - 1] ?? 0, end))
    this.#noToken = width
  }

  /** @throws what xgrammar throws for a grammar that it cannot read */
  async matcher(grammar: string, isForeign: boolean, stopIds: readonly number[]): Promise<TextMatcher> {
    const compiled = await this.#compile(grammar, isForeign)
    const { xgrammar } = await this.#loaded()
    const ends = [...stopIds, this.#noToken]
    const matcher = await xgrammar.GrammarMatcher.createGrammarMatcher(compiled, ends)
    return new TextMatcher(matcher, this.#noToken + 1, this.#bytes)
  }

  async #compile(grammar: string, isForeign: boolean): Promise<CompiledGrammar> {
    const known = this.#compiled.get(grammar)
    this.#compiled.delete(grammar)
    if (!known && isForeign) await this.#read(grammar)
    const compiled = known ?? (await this.#fresh(grammar))
    this.#compiled.set(grammar, compiled)
    for (const [oldest, old] of this.#compiled) {
      if (this.#compiled.size <= mostKept) break
      this.#compiled.delete(oldest)
      old.dispose() // texts that are held to it have their own share of it
    }
    return compiled
  }

  async #read(grammar: string): Promise<void> {
    this.#reader ??= loadXGrammar()
    const reader = this.#reader
    this.#reader = null // unless it is there afterwards
    const read = await reader.Grammar.fromEBNF(grammar)
    read.dispose()
    this.#reader = reader
  }

  /** What fails here ends the compiler: others get a new one. */
  async #fresh(grammar: string): Promise<CompiledGrammar> {
    try {
      return await (await this.#loaded()).compiler.compileGrammar(grammar)
    } catch (error) {
      this.#compiler = null
      this.#compiled.clear()
      throw error
    }
  }

  #loaded(): Promise<Compiler> {
    this.#compiler ??= this.#load()
    return this.#compiler
  }

  async #load(): Promise<Compiler> {
    const xgrammar = loadXGrammar()
    const { TokenizerInfo, GrammarCompiler } = xgrammar
    const [tokens, width] = [this.#bytes.map(spelled), this.#noToken + 1]
    const info = await TokenizerInfo.createTokenizerInfo(tokens, 'byte_level', false, width, [this.#noToken])
    return { xgrammar, compiler: await GrammarCompiler.createGrammarCompiler(info, false) }
  }
}

/** What the package's own method does, which answers later than a text can wait. */
interface MatcherHandle {
  GetNextTokenBitmask(width: number): { get(at: number): number; size(): number; delete(): void }
}

/** What may come next in one text. */
export class TextMatcher implements Disposable {
  readonly #matcher: GrammarMatcher
  readonly #width: number
  readonly #bytes: readonly Uint8Array[]
  /** The last byte of the text. */
  #last: number | undefined

  constructor(matcher: GrammarMatcher, width: number, bytes: readonly Uint8Array[]) {
    this.#matcher = matcher
    this.#width = width
    this.#bytes = bytes
  }

  /** A bit for each token. */
  mask(): Int32Array {
    const { handle } = this.#matcher as unknown as { handle: MatcherHandle }
    const bits = handle.GetNextTokenBitmask(this.#width)
    const allowed = Int32Array.from({ length: bits.size() }, (_, i) => bits.get(i))
    bits.delete()
    if ((this.#last ?? 0) >= 0xe0) this.#finishCharacter(allowed)
    return allowed
  }

  /** Within a character only a few bytes may follow. */
  #finishCharacter(allowed: Int32Array): void {
    for (const [id, [first]] of this.#bytes.entries())
      if (first !== undefined && !mayFollow(this.#last, first))
        allowed[id >> 5] = (allowed[id >> 5] ?? 0) & ~(1 << (id & 31))
  }

  accept(id: number): void {
    this.#last = this.#bytes[id]?.at(-1)
    this.#matcher.acceptToken(id)
  }

  [Symbol.dispose](): void {
    this.#matcher.dispose()
  }
}
