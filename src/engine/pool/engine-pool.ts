// Models that share a process: one is loaded when a text is asked of it, and goes when others need its place, or when nobody has
// asked for long.

import { BusyError, StoppedError } from '../../errors.ts'
import type { EngineFacts, EngineStatus, TextEngine } from '../batching/engine.ts'
import type { TextPart, TextRequest } from '../batching/request.ts'

export interface PoolOptions {
  /** Models that are loaded at a time. */
  most: number
  /** Seconds after its last text that a model stays. Default: until another one needs its place. */
  idleSeconds?: number | undefined
}

/** A model of the pool that is loaded, or about to be. */
interface Loaded {
  engine: Promise<TextEngine>
  /** What it does can be asked for. */
  isReady: boolean
  /** Texts that it writes. */
  users: number
  idle: NodeJS.Timeout | null
}

/** A text whose model finds no place. */
interface Waiting {
  of: PooledEngine
  turn: () => void
}

export class EnginePool {
  readonly #options: PoolOptions
  /** Those that were used longest ago first. */
  readonly #loaded = new Map<PooledEngine, Loaded>()
  /** In the order in which they came. */
  readonly #waiting: Waiting[] = []
  /** Models that are going: their memory is needed before another one comes. */
  readonly #going = new Set<Promise<void>>()
  #isClosed = false

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /** A model, which is not loaded yet. */
  add(facts: EngineFacts, open: () => Promise<TextEngine>): TextEngine {
    return new PooledEngine(this, facts, open)
  }

  /** Loads a model before anybody asks. @throws what its open() throws */
  async load(engine: TextEngine): Promise<void> {
    if (!(engine instanceof PooledEngine)) return
    await this.take(engine)
    this.release(engine)
  }

  /**
   * The engine of a model, which stays until release().
   *
   * @throws what its open() throws, BusyError when as many wait as the model lets wait, and the signal's reason
   */
  async take(of: PooledEngine, signal?: AbortSignal): Promise<TextEngine> {
    // Who comes later does not go first: a model that is always busy would hold up the others for ever.
    if (this.#waiting.length > 0 || !this.#hasPlace(of)) await this.#wait(of, 'last', signal)
    while (!(this.#isClosed || this.#hasPlace(of))) await this.#wait(of, 'first', signal) // somebody was quicker
    if (this.#isClosed) throw new StoppedError('the engines were closed')
    const loaded = this.#loaded.get(of) ?? this.#load(of)
    loaded.users++
    if (loaded.idle) clearTimeout(loaded.idle)
    this.#loaded.delete(of)
    this.#loaded.set(of, loaded)
    this.#next()
    try {
      return await Promise.race([loaded.engine, abortionOf(signal)])
    } catch (error) {
      if (this.#loaded.get(of) === loaded) this.release(of) // it is still being loaded, for others or to be kept
      throw error
    }
  }

  release(of: PooledEngine): void {
    const loaded = this.#loaded.get(of)
    if (!loaded) return
    loaded.users--
    const { idleSeconds } = this.#options
    if (loaded.users === 0 && idleSeconds !== undefined)
      loaded.idle = setTimeout(() => void this.#unload(of), idleSeconds * 1000).unref()
    this.#next()
  }

  /** What a model does; null while it is not loaded. */
  async statusOf(of: PooledEngine): Promise<EngineStatus | null> {
    const loaded = this.#loaded.get(of)
    return loaded?.isReady ? (await loaded.engine).status() : null
  }

  /** Ends all texts. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const { turn } of this.#waiting.splice(0)) turn()
    for (const of of [...this.#loaded.keys()]) void this.#unload(of)
    await Promise.all(this.#going)
  }

  /** Until it is this text's turn. */
  async #wait(of: PooledEngine, place: 'first' | 'last', signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    const others = this.#waiting.filter(waiting => waiting.of === of).length
    if (place === 'last' && others >= of.facts.waiting) throw new BusyError(others)
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        const at = this.#waiting.indexOf(waiting)
        if (at >= 0) this.#waiting.splice(at, 1)
        reject(signal?.reason)
        this.#next()
      }
      const turn = (): void => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const waiting = { of, turn }
      if (place === 'last') this.#waiting.push(waiting)
      else this.#waiting.unshift(waiting)
      signal?.addEventListener('abort', leave, { once: true })
    })
  }

  /** Whether a model is there, or finds a place. */
  #hasPlace(of: PooledEngine): boolean {
    if (this.#loaded.has(of) || this.#loaded.size < this.#options.most) return true
    return [...this.#loaded.values()].some(({ users }) => users === 0)
  }

  #next(): void {
    const [first] = this.#waiting
    if (!first || !this.#hasPlace(first.of)) return
    this.#waiting.shift()
    first.turn()
  }

  /** In the place of whoever was not used for longest, where there is no other. */
  #load(of: PooledEngine): Loaded {
    const isFull = this.#loaded.size >= this.#options.most
    const [gone] = (isFull && [...this.#loaded].find(([, { users }]) => users === 0)) || []
    if (gone) void this.#unload(gone)
    const loaded: Loaded = {
      engine: Promise.all(this.#going).then(() => of.open()),
      ...{ isReady: false, users: 0, idle: null },
    }
    loaded.engine.then(
      () => {
        loaded.isReady = true
      },
      () => {
        if (this.#loaded.get(of) === loaded) this.#loaded.delete(of) // whoever waits for it is told
        this.#next()
      },
    )
    this.#loaded.set(of, loaded)
    return loaded
  }

  #unload(of: PooledEngine): Promise<void> {
    const loaded = this.#loaded.get(of)
    if (!loaded) return Promise.resolve()
    this.#loaded.delete(of)
    if (loaded.idle) clearTimeout(loaded.idle)
    const going = loaded.engine
      .then(
        engine => engine.close(),
        () => undefined,
      )
      .finally(() => this.#going.delete(going))
    this.#going.add(going)
    return going
  }
}

/** Fails when a signal is aborted. */
const abortionOf = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }))

class PooledEngine implements TextEngine {
  readonly facts: EngineFacts
  readonly open: () => Promise<TextEngine>
  readonly #pool: EnginePool

  constructor(pool: EnginePool, facts: EngineFacts, open: () => Promise<TextEngine>) {
    this.#pool = pool
    this.facts = facts
    this.open = open
  }

  /** It can be loaded. */
  get isReady(): boolean {
    return true
  }

  async *generate(
    request: TextRequest & { signal?: AbortSignal | undefined },
  ): AsyncGenerator<TextPart, void> {
    const { signal, deadlineMs } = request
    const asked = performance.now()
    // Node 20 may collect an AbortSignal.timeout() that any() alone knows; a controller is kept by its timer.
    const ending = new AbortController()
    const timer = deadlineMs === undefined ? null : setTimeout(() => ending.abort(), deadlineMs)
    const waiting = AbortSignal.any([...(signal ? [signal] : []), ending.signal])
    const engine = await this.#pool
      .take(this, waiting)
      .catch(error => {
        if (waiting.aborted) return null
        throw error
      })
      .finally(() => timer && clearTimeout(timer))
    const waited = performance.now() - asked
    if (engine === null) {
      const seconds = { queued: waited / 1000, prompt: 0, writing: 0 }
      const end = { promptTokens: 0, cachedTokens: 0, newTokens: 0, seconds }
      yield { text: '', tokens: [], end: { reason: signal?.aborted ? 'aborted' : 'deadline', ...end } }
      return
    }
    try {
      yield* engine.generate({
        ...request,
        ...(deadlineMs !== undefined && { deadlineMs: deadlineMs - waited }),
      })
    } finally {
      this.#pool.release(this)
    }
  }

  status(): Promise<EngineStatus | null> {
    return this.#pool.statusOf(this)
  }

  close(): Promise<void> {
    return this.#pool.close()
  }
}
