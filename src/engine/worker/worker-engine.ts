// An engine in a thread of its own: the event loop of whoever asks stays free while the model computes.

import { StoppedError } from '../../errors.ts'
import { prepareEnvironment } from '../../torch/index.ts'
import type { EngineFacts, EngineOptions, EngineStatus, TextEngine } from '../batching/engine.ts'
import type { TextPart, TextRequest } from '../batching/request.ts'
import { Link } from './link.ts'
import type { WorkerStart } from './messages.ts'

/** Built code, as a worker has no loader for sources; src/engine/worker and dist/engine/worker lie equally deep. */
const builtEntry = new URL('../../../dist/engine/worker/worker-main.js', import.meta.url)

/** When its thread dies, texts that are being written end with an error, and another thread is started for the next ones. */
export class WorkerEngine implements TextEngine {
  readonly facts: EngineFacts
  readonly #start: WorkerStart
  readonly #entry: URL
  /** The worker, or the one that is being started; null after a start that failed. */
  #link: Promise<Link> | null = null
  isReady = false
  #restarts = 0
  #isClosed = false

  /**
   * Starts the thread and waits until it has its model.
   *
   * @param entry what the thread runs. Default: an Engine
   * @throws what Engine.open() throws
   */
  static async open(
    path: string,
    options: EngineOptions = {},
    entry: URL = builtEntry,
  ): Promise<WorkerEngine> {
    prepareEnvironment()
    const start = { path, options }
    return new WorkerEngine(start, entry, await Link.start(start, entry))
  }

  private constructor(start: WorkerStart, entry: URL, link: Link) {
    this.#start = start
    this.#entry = entry
    this.facts = link.facts
    this.#use(link)
  }

  async *generate({
    signal,
    ...request
  }: TextRequest & { signal?: AbortSignal | undefined }): AsyncGenerator<TextPart, void> {
    const link = await this.#linked()
    yield* link.generate(request, signal)
  }

  async status(): Promise<EngineStatus> {
    const link = await this.#linked()
    return { ...(await link.status()), restarts: this.#restarts }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    const link = await this.#link?.catch(() => null)
    await link?.close()
  }

  /** The worker; one is started where the last start failed. */
  async #linked(): Promise<Link> {
    if (this.#isClosed) throw new StoppedError('the engine was closed')
    this.#link ??= this.#restart()
    return this.#link
  }

  #use(link: Link): void {
    this.#link = Promise.resolve(link)
    this.isReady = true
    void link.gone.then(cause => {
      this.isReady = false
      link.fail(new StoppedError(`the engine stopped (${cause}) and is started again: repeat the request`))
      this.#link = this.#isClosed ? null : this.#restart()
    })
  }

  #restart(): Promise<Link> {
    this.#restarts++
    const started = Link.start(this.#start, this.#entry)
    started.then(
      link => this.#use(link),
      () => {
        this.#link = null
      },
    )
    return started
  }
}
