// Grammars of one model's texts, in a thread of their own: compiling one may take seconds.
// Shapes: V vocabulary.

import { Worker } from 'node:worker_threads'
import type { Tokenizer } from '../../data/index.ts'
import { ConfigError, StoppedError } from '../../errors.ts'
import type { TokenConstraint } from '../../models/index.ts'
import { jsonRule } from './json-rules.ts'
import { schemaRule } from './json-schema.ts'
import type { FromGrammars, OpenText, ToGrammars } from './messages.ts'
import { Rules } from './rules.ts'
import type { TextGrammar } from './text-grammar.ts'
import { vocabularyBytes } from './token-bytes.ts'
import { TokenMasks } from './token-masks.ts'

/** Built code, as a worker has no loader for sources; src/engine/grammar and dist/engine/grammar lie equally deep. */
const builtEntry = new URL('../../../dist/engine/grammar/grammar-main.js', import.meta.url)

/** Largest grammar as text. */
const largestText = 2 ** 20

/** A text's constraint, which holds memory until it is disposed of. */
export interface GrammarConstraint extends TokenConstraint, Disposable {
  /** Whether allowed() would answer soon: not while its grammar, or another one first, is compiled. */
  readonly isReady: boolean
  /** Comes when its grammar is compiled. Fails with ConfigError for one that cannot be read. */
  readonly opened: Promise<void>
}

export class Grammars implements Disposable {
  readonly #tokenizer: Tokenizer
  readonly #width: number
  readonly #stopIds: readonly number[]
  #worker: Worker | null = null
  /** Who waits for a grammar, by number. */
  readonly #opening = new Map<number, (problem: string | null) => void>()
  /** Of texts that are held to one. */
  readonly #open = new Set<TokenMasks>()
  #count = 0

  /**
   * @param width V, which may be more than the tokenizer has
   * @param stopIds tokens that end a text, where its request does not name others
   */
  constructor(tokenizer: Tokenizer, width: number, stopIds: readonly number[]) {
    this.#tokenizer = tokenizer
    this.#width = width
    this.#stopIds = stopIds
  }

  /** begin(), once the grammar is compiled. @throws ConfigError for one that cannot be read, too */
  async constraint(wanted: TextGrammar, stopIds?: readonly number[]): Promise<GrammarConstraint> {
    const begun = this.begin(wanted, stopIds)
    try {
      await begun.opened
      return begun
    } catch (error) {
      begun[Symbol.dispose]()
      throw error
    }
  }

  /** Lets a grammar be compiled for a text, whose prompt can be read meanwhile. @throws ConfigError for a schema that cannot be held to */
  begin(wanted: TextGrammar, stopIds = this.#stopIds): GrammarConstraint {
    const grammar = this.#textOf(wanted)
    if (grammar.length > largestText)
      throw new ConfigError(`has ${grammar.length} characters; at most ${largestText} are taken`, {
        path: 'grammar',
      })
    const id = ++this.#count
    const masks = new TokenMasks(this.#width + 1)
    const worker = this.#started()
    const isForeign = 'ebnf' in wanted
    const opened = this.#opened(worker, {
      ...{ kind: 'open', id, grammar, isForeign, stopIds, masks: masks.buffer },
    })
    opened.catch(() => masks.fail()) // nobody is to wait for one
    this.#open.add(masks)
    return new MatchedText(masks, {
      opened,
      accept: token => send(worker, { kind: 'accept', id, token }),
      close: () => {
        this.#open.delete(masks)
        send(worker, { kind: 'close', id })
      },
      isIdle: () => this.#opening.size === 0,
    })
  }

  /** Waits until a grammar is there. Until then the thread keeps the process. */
  async #opened(worker: Worker, message: OpenText): Promise<void> {
    worker.ref()
    const problem = await new Promise<string | null>(resolve => {
      this.#opening.set(message.id, resolve)
      send(worker, message)
    })
    this.#opening.delete(message.id)
    if (this.#opening.size === 0) worker.unref()
    if (problem === null) return
    if (this.#worker !== worker) throw new StoppedError(problem)
    throw new ConfigError('cannot be read: it must be EBNF as xgrammar has it', {
      ...{ path: 'grammar', cause: new Error(problem) },
    })
  }

  #textOf(grammar: TextGrammar): string {
    if ('ebnf' in grammar) return grammar.ebnf
    const rules = new Rules()
    if ('json' in grammar) return rules.text(jsonRule(rules, 'obj'))
    const options = { path: 'grammar.jsonSchema', tokens: this.#width }
    return rules.text(schemaRule(rules, grammar.jsonSchema, options))
  }

  #started(): Worker {
    if (this.#worker) return this.#worker
    const worker = new Worker(builtEntry, { workerData: vocabularyBytes(this.#tokenizer, this.#width) })
    worker.on('message', ({ id, problem }: FromGrammars) => this.#opening.get(id)?.(problem))
    worker.on('error', () => undefined) // its exit says it
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = null // the next one starts another
      for (const fail of this.#opening.values()) fail('the thread of grammars ended: repeat the request')
      for (const masks of this.#open) masks.fail()
    })
    this.#worker = worker
    return worker
  }

  [Symbol.dispose](): void {
    void this.#worker?.terminate()
    this.#worker = null
  }
}

const send = (worker: Worker, message: ToGrammars): void => worker.postMessage(message)

interface Matcher {
  opened: Promise<void>
  accept(id: number): void
  close(): void
  /** Whether nothing is compiled. */
  isIdle(): boolean
}

class MatchedText implements GrammarConstraint {
  readonly #masks: TokenMasks
  readonly #matcher: Matcher
  #accepted = 0

  constructor(masks: TokenMasks, matcher: Matcher) {
    this.#masks = masks
    this.#matcher = matcher
  }

  get opened(): Promise<void> {
    return this.#matcher.opened
  }

  get isReady(): boolean {
    return this.#masks.count > this.#accepted || this.#matcher.isIdle()
  }

  allowed(): Int32Array {
    return this.#masks.take(this.#accepted + 1)
  }

  accept(id: number): void {
    this.#accepted++
    this.#matcher.accept(id)
  }

  [Symbol.dispose](): void {
    this.#matcher.close()
  }
}
