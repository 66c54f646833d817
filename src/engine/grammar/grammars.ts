// Grammars of one model's texts: compiled once, kept while they are in use, a matcher for each text.
// Shapes: V vocabulary.

import type { CompiledGrammar, GrammarCompiler as Compiling, GrammarMatcher } from '@mlc-ai/web-xgrammar'
import type { Tokenizer } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import type { TokenConstraint } from '../../models/index.ts'
import { jsonRule } from './json-rules.ts'
import { schemaRule } from './json-schema.ts'
import { Rules } from './rules.ts'
import type { TextGrammar } from './text-grammar.ts'
import { mayFollow, spelled, tokenBytes } from './token-bytes.ts'
import { loadXGrammar, type XGrammar } from './xgrammar.ts'

/** Compiled grammars that are kept. */
const mostKept = 32

/** Largest grammar as text. */
const largestText = 2 ** 20

/** A text's constraint, which holds memory until it is disposed of. */
export type GrammarConstraint = TokenConstraint & Disposable

interface Compiler {
  /** Of each token. */
  bytes: readonly Uint8Array[]
  xgrammar: XGrammar
  compiler: Compiling
}

export class Grammars implements Disposable {
  readonly #tokenizer: Tokenizer
  readonly #width: number
  readonly #stopIds: readonly number[]
  #compiler: Promise<Compiler> | null = null
  /** By text, those that were used last at the end. */
  readonly #compiled = new Map<string, CompiledGrammar>()

  /**
   * @param width V, which may be more than the tokenizer has
   * @param stopIds tokens that end a text, where its request does not name others
   */
  constructor(tokenizer: Tokenizer, width: number, stopIds: readonly number[]) {
    this.#tokenizer = tokenizer
    this.#width = width
    this.#stopIds = stopIds
  }

  /** @throws ConfigError for a schema that cannot be held to, and a grammar that cannot be read */
  async constraint(grammar: TextGrammar, stopIds = this.#stopIds): Promise<GrammarConstraint> {
    const text = this.#textOf(grammar)
    if (text.length > largestText)
      throw new ConfigError(`has ${text.length} characters; at most ${largestText} are taken`, {
        path: 'grammar',
      })
    this.#compiler ??= this.#load()
    const { bytes, xgrammar, compiler } = await this.#compiler
    const compiled = await this.#compile(compiler, text)
    const matcher = await xgrammar.GrammarMatcher.createGrammarMatcher(compiled, [...stopIds, this.#noToken])
    return new MatchedText(matcher, this.#noToken + 1, bytes)
  }

  /** xgrammar wants a token that ends texts; this one no model writes. */
  get #noToken(): number {
    return this.#width
  }

  #textOf(grammar: TextGrammar): string {
    if ('ebnf' in grammar) return grammar.ebnf
    const rules = new Rules()
    if ('json' in grammar) return rules.text(jsonRule(rules, 'obj'))
    const options = { path: 'grammar.jsonSchema', tokens: this.#width }
    return rules.text(schemaRule(rules, grammar.jsonSchema, options))
  }

  async #load(): Promise<Compiler> {
    const xgrammar = loadXGrammar()
    const bytes = tokenBytes(this.#tokenizer, this.#width)
    const tokens = bytes.map(spelled)
    const { TokenizerInfo, GrammarCompiler } = xgrammar
    const width = this.#noToken + 1
    const info = await TokenizerInfo.createTokenizerInfo(tokens, 'byte_level', false, width, [this.#noToken])
    return { bytes, xgrammar, compiler: await GrammarCompiler.createGrammarCompiler(info, false) }
  }

  async #compile(compiler: Compiling, text: string): Promise<CompiledGrammar> {
    const known = this.#compiled.get(text)
    this.#compiled.delete(text)
    const compiled = known ?? (await this.#fresh(compiler, text))
    this.#compiled.set(text, compiled)
    for (const [oldest, grammar] of this.#compiled) {
      if (this.#compiled.size <= mostKept) break
      this.#compiled.delete(oldest)
      grammar.dispose() // texts that are held to it have their own share of it
    }
    return compiled
  }

  /** A grammar that it cannot read ends the engine of grammars: others get a new one. */
  async #fresh(compiler: Compiling, text: string): Promise<CompiledGrammar> {
    try {
      return await compiler.compileGrammar(text)
    } catch (cause) {
      this.#compiler = null
      this.#compiled.clear()
      throw new ConfigError('cannot be read: it must be EBNF as xgrammar has it', { path: 'grammar', cause })
    }
  }

  [Symbol.dispose](): void {
    this.#compiled.clear()
    this.#compiler = null
  }
}

/** What the package's own method does, which answers later than a text can wait. */
interface MatcherHandle {
  GetNextTokenBitmask(width: number): { get(at: number): number; size(): number; delete(): void }
}

class MatchedText implements GrammarConstraint {
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

  allowed(): Int32Array {
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
