// A model that writes for many at once.

import type { Tokenizer } from '../../data/index.ts'
import { ConfigError, StoppedError } from '../../errors.ts'
import {
  CausalLM,
  GrowingText,
  type LoadOptions,
  type OpenedModel,
  openModel,
  prefillChunk,
  refuseOtherTokenizer,
  TextWriter,
  textStart,
} from '../../models/index.ts'
import { checkFewer, computeSteadily, type FewerExperts, serveFewer } from '../../moe/index.ts'
import type { KvType } from '../../nn/index.ts'
import { type GrammarConstraint, Grammars } from '../grammar/grammars.ts'
import { ServedHints } from '../prefetch/served-hints.ts'
import type { PrefetchConfig } from '../prefetch/table.ts'
import type { DeviceTier } from '../store/device-tier.ts'
import type { ExpertStore } from '../store/expert-store.ts'
import type { OnMiss } from '../store/on-miss.ts'
import { loadTiered } from '../store/open.ts'
import { ExpertLoad, type LayerLoad } from './expert-load.ts'
import { pageTokens } from './pages.ts'
import { PartQueue } from './part-queue.ts'
import { pagesOf } from './places.ts'
import type { TextPart, TextRequest } from './request.ts'
import { type AskedText, askedText } from './running-text.ts'
import { Scheduler, type SchedulerCounts } from './scheduler.ts'

export interface EngineOptions extends LoadOptions {
  /** Bytes to stay within: experts come from the file when they are chosen. Default: all of the model in memory. */
  memory?: number | undefined
  /** With `memory` and another device than the CPU, bytes to stay within there. Default: what is free, but for a tenth. */
  deviceMemory?: number | undefined
  /** With `memory`, how experts are read ahead. Default: not. */
  prefetch?: PrefetchConfig | undefined
  /** With `memory`, what becomes of experts that are not there, for all texts. Default: they are read. */
  onMiss?: OnMiss | undefined
  /** What keys and values are kept in. Default: what the model computes in. */
  kv?: KvType | undefined
  /** Fewer experts than the model was trained with, for all texts. */
  fewer?: FewerExperts | undefined
  /** File of hints, whose experts serve in place of those that routers choose, for all texts. Default: none. */
  hints?: string | undefined
  /** Texts that are written at once. Default 4. */
  texts?: number | undefined
  /** Most tokens of each text, its prompt's included. Default 4096, or as many as the model has positions. */
  context?: number | undefined
  /**
   * Tokens that there is memory for, of all texts together: with fewer than `texts` times `context`, a text may be put aside
   * until others have ended. Default: `texts` times `context`, in whole pages.
   */
  cacheTokens?: number | undefined
  /** Texts that may wait for a place; more are refused. Default 64. */
  waiting?: number | undefined
}

/** What an engine is. */
export interface EngineFacts {
  texts: number
  context: number
  cacheTokens: number
  waiting: number
}

/** What an engine does, and has done. */
export interface EngineStatus extends SchedulerCounts {
  /** Of the process, in bytes. */
  memory: number
  /** Of experts that come from the file; null where all are in memory. */
  experts: StoreStatus | null
  load: readonly LayerLoad[]
  /** How often the engine was started again after its thread had died. */
  restarts: number
}

/** Of experts that come from the file. */
export interface StoreStatus {
  /** Experts that fit, of all, and bytes of their places. */
  resident: number
  total: number
  residentBytes: number
  /** What layers needed, and of it what was there; of each layer too. */
  uses: number
  hits: number
  layers: readonly { uses: number; hits: number }[]
  /** Of uses, those that a copy of fewer bits stood in for, and choices that gave way to experts that were there. */
  copied: number
  replaced: number
  /** Bytes that were read; of those that were read ahead, the ones that were used in time, and the others. */
  bytes: number
  useful: number
  wasted: number
  /** Of those on the device that computes: what layers needed, what was there, bytes that were sent; null where there is none. */
  device: Pick<StoreStatus, 'resident' | 'residentBytes' | 'uses' | 'hits' | 'bytes'> | null
}

/** What answers requests: an engine in this thread, or one in another. */
export interface TextEngine {
  readonly facts: EngineFacts
  /** Whether it would begin with a request at once: not while it is started again. */
  readonly isReady: boolean
  /** Writes a text. Whoever stops reading cancels it. @throws BusyError, ConfigError */
  generate(request: TextRequest & { signal?: AbortSignal | undefined }): AsyncGenerator<TextPart, void>
  /** What it does; null while its model is not loaded. */
  status(): Promise<EngineStatus | null>
  close(): Promise<void>
}

export const defaultTexts = 4
export const defaultContext = 4096
export const defaultWaiting = 64

interface Loaded extends Disposable {
  model: CausalLM
  store: ExpertStore | null
}

/**
 * Continuous batching of one model: texts begin and end between two of its steps, and share what it reads. What a text becomes
 * does not depend on the others; to the last bit that holds for weights as files have them, on a CPU (docs/server.md says where not).
 *
 * @example
 * const engine = await Engine.open('runs/tiny')
 * for await (const { text } of engine.generate({ prompt: 'Once', temperature: 0.8 })) process.stdout.write(text)
 */
export class Engine implements TextEngine {
  readonly facts: EngineFacts
  readonly #loaded: Loaded
  readonly #tokenizer: Tokenizer
  readonly #scheduler: Scheduler
  readonly #grammars: Grammars
  readonly #load = new ExpertLoad()
  readonly #hints: ServedHints | null
  readonly #onMiss: OnMiss
  #running: Promise<void> | null = null
  #isClosed = false

  /** @throws ConfigError for a model that is no decoder, and for a budget below what works */
  static async open(path: string, options: EngineOptions = {}): Promise<Engine> {
    return new Engine(openModel(path), options)
  }

  private constructor(opened: OpenedModel, options: EngineOptions) {
    this.facts = engineFacts(opened, options)
    this.#tokenizer = opened.tokenizer
    refuseOtherTokenizer(opened, this.#tokenizer)
    this.#loaded = load(opened, options, this.facts)
    computeSteadily(this.#loaded.model)
    this.#hints = options.hints === undefined ? null : ServedHints.read(this.#loaded.model, options.hints)
    if (options.fewer) serveFewer(this.#loaded.model, options.fewer)
    const { vocab_size, eos_token_id } = this.#loaded.model.config
    this.#grammars = new Grammars(this.#tokenizer, vocab_size, [eos_token_id ?? []].flat())
    this.#onMiss = options.onMiss ?? { kind: 'read' }
    this.#scheduler = new Scheduler(
      this.#loaded.model,
      { ...this.facts, kv: options.kv, pagesAlone: this.#loaded.store ? pagesOf(prefillChunk) : undefined },
      {
        onRouting: routings => this.#load.note(routings),
        onTexts: texts => this.#loaded.store?.letChoose(texts.map(({ onMiss }) => onMiss ?? null)),
      },
    )
  }

  get isReady(): boolean {
    return !this.#isClosed
  }

  async *generate({
    signal,
    ...request
  }: TextRequest & { signal?: AbortSignal | undefined }): AsyncGenerator<TextPart, void> {
    const askedAt = performance.now()
    const parts = new PartQueue()
    const { grammar, stopIds } = request
    using constraint = grammar ? this.#grammars.begin(grammar, stopIds) : null
    const asked = await this.#ask(request, constraint, { listener: parts, askedAt })
    constraint?.opened.catch(error => this.#scheduler.fail(asked, error))
    yield* parts.read(signal, () => this.#scheduler.cancel(asked))
  }

  async status(): Promise<EngineStatus> {
    return {
      ...this.#scheduler.counts,
      memory: process.memoryUsage.rss(),
      experts: this.#loaded.store && storeStatus(this.#loaded.store),
      load: this.#load.layers,
      restarts: 0,
    }
  }

  /** Ends all texts and frees the model. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#scheduler.failAll(new StoppedError('the engine was closed'))
    await this.#running
    this.#scheduler[Symbol.dispose]()
    this.#grammars[Symbol.dispose]()
    this.#hints?.[Symbol.dispose]()
    this.#loaded[Symbol.dispose]()
  }

  async #ask(
    request: TextRequest,
    constraint: GrammarConstraint | null,
    asker: Pick<AskedText, 'listener' | 'askedAt'>,
  ): Promise<AskedText> {
    const { expertsPerToken, onMiss } = request
    const isForAll = this.#onMiss.kind === 'copy' || Boolean(this.#loaded.store?.device)
    if (onMiss !== undefined && isForAll)
      throw new ConfigError('is not for each text where copies stand in for experts, or a device has some', {
        path: 'onMiss',
      })
    if (expertsPerToken !== undefined) checkFewer(this.#loaded.model, { expertsPerToken })
    const ids = await this.#idsOf(request)
    if (this.#isClosed) throw new StoppedError('the engine was closed')
    const asked = askedText(request, {
      text: new GrowingText(this.#loaded.model.config, ids, request, {
        room: this.facts.context,
        constraint,
      }),
      constraint,
      writer: new TextWriter(this.#tokenizer, request.stop ?? [], request.shownSpecials),
      ...asker,
    })
    this.#scheduler.add(asked)
    this.#running ??= this.#run()
    return asked
  }

  async #idsOf({ prompt, isTemplated = false }: TextRequest): Promise<readonly number[]> {
    if (typeof prompt !== 'string') return prompt
    const ids = await this.#tokenizer.encode(prompt, { addSpecialTokens: !isTemplated })
    return ids.length > 0 ? ids : [textStart(this.#tokenizer)]
  }

  /** Steps until there is nothing to do. The event loop turns between them: who has gone is noticed. */
  async #run(): Promise<void> {
    let isHeld = false
    while (this.#scheduler.isBusy) {
      await new Promise<void>(isHeld ? soon : setImmediate)
      try {
        isHeld = !this.#scheduler.step()
      } catch (error) {
        this.#scheduler.failAll(error)
      }
    }
    this.#running = null
  }
}

/** Nobody can go on: there is no need to ask at every turn. */
const soon = (resolve: () => void): unknown => setTimeout(resolve, 2)

function storeStatus({ capacity, total, bytes: residentBytes, counts, device }: ExpertStore): StoreStatus {
  const { copied, replaced, layers } = counts
  const places = { resident: capacity, total, residentBytes }
  return { ...places, layers, copied, replaced, ...counts.totals, device: device && deviceStatus(device) }
}

function deviceStatus({ capacity, bytes: residentBytes, counts }: DeviceTier): StoreStatus['device'] {
  const { uses, hits, bytes } = counts
  return { resident: capacity, residentBytes, uses, hits, bytes }
}

/** What an engine of a model will be. @throws ConfigError for a model that is no decoder, and for sizes that cannot be */
export function engineFacts({ config, path }: OpenedModel, options: EngineOptions = {}): EngineFacts {
  const { texts = defaultTexts, waiting = defaultWaiting } = options
  const positions = 'max_position_embeddings' in config ? config.max_position_embeddings : null
  if (positions === null) throw new ConfigError('is no decoder, and only decoders are served', { path })
  const { context = Math.min(defaultContext, positions) } = options
  const { cacheTokens = texts * pagesOf(context) * pageTokens } = options
  for (const [name, value] of Object.entries({ texts, waiting, context, cacheTokens }))
    if (!(Number.isSafeInteger(value) && value >= 1))
      throw new ConfigError(`must be a whole number of at least 1, got ${value}`, { path: name })
  if (context > positions)
    throw new ConfigError(`${context} exceeds the model's ${positions} positions`, { path: 'context' })
  if (cacheTokens < context) {
    const problem = `${cacheTokens} hold no text of ${context} tokens: raise it, or lower context`
    throw new ConfigError(problem, { path: 'cacheTokens' })
  }
  return { texts, context, cacheTokens, waiting }
}

function load(
  opened: OpenedModel,
  { memory, deviceMemory, prefetch, onMiss, kv, device = 'cpu', ...place }: EngineOptions,
  { cacheTokens }: EngineFacts,
): Loaded {
  if (memory !== undefined) {
    const budget = { memory, context: pagesOf(cacheTokens) * pageTokens, kv }
    const settings = { ...(prefetch && { prefetch }), ...(onMiss && { onMiss }) }
    const where = device === 'cpu' ? undefined : { device, dtype: place.dtype, memory: deviceMemory }
    const { tiered } = loadTiered(opened.source, { ...budget, ...settings, device: where })
    return { model: tiered.model, store: tiered.store, [Symbol.dispose]: () => tiered[Symbol.dispose]() }
  }
  const isPlain = device === 'cpu' && place.dtype === undefined
  const { weights = isPlain ? 'stored' : 'decoded', dtype = 'f32' } = place
  const model = opened.load({ kind: 'decoder', device, weights, dtype })
  if (!(model instanceof CausalLM)) throw new ConfigError('is no decoder', { path: opened.path })
  return { model, store: null, [Symbol.dispose]: () => model.dispose() }
}
