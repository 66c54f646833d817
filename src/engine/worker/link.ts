// One worker that has its model, and what it was asked.

import { Worker } from 'node:worker_threads'
import { SwitchyardError } from '../../errors.ts'
import type { EngineFacts, EngineStatus } from '../batching/engine.ts'
import { PartQueue } from '../batching/part-queue.ts'
import type { TextPart, TextRequest } from '../batching/request.ts'
import { errorOf, type FromEngine, type ToEngine, type WorkerStart } from './messages.ts'

interface Answer<T> {
  resolve: (value: T) => void
  reject: (error: Error) => void
}

export class Link {
  readonly facts: EngineFacts
  /** Comes when the worker has ended, with what it ended of. */
  readonly gone: Promise<string>
  readonly #worker: Worker
  readonly #texts = new Map<number, PartQueue>()
  readonly #statuses = new Map<number, Answer<EngineStatus>>()
  #number = 0

  /** Starts a worker and waits until it has its model. Throws what it could not do that for. */
  static async start(start: WorkerStart, entry: URL): Promise<Link> {
    const worker = new Worker(entry, { workerData: start })
    const gone = new Promise<string>(resolve => {
      let cause = 'its thread ended'
      worker.on('error', error => {
        cause = error instanceof Error ? error.message : String(error)
      })
      worker.once('exit', () => resolve(cause))
    })
    const first = new Promise<FromEngine>(resolve => worker.once('message', resolve))
    const message = await Promise.race([first, gone])
    if (typeof message === 'string') throw new SwitchyardError(`the engine does not start: ${message}`)
    if (message.kind === 'failed') throw errorOf(message.error)
    if (message.kind !== 'ready') throw new SwitchyardError(`the engine does not start: ${message.kind}`)
    return new Link(worker, message.facts, gone)
  }

  private constructor(worker: Worker, facts: EngineFacts, gone: Promise<string>) {
    this.#worker = worker
    this.facts = facts
    this.gone = gone
    worker.on('message', (message: FromEngine) => this.#take(message))
  }

  /** See TextEngine. */
  async *generate(request: TextRequest, signal: AbortSignal | undefined): AsyncGenerator<TextPart, void> {
    const [id, parts] = [++this.#number, new PartQueue()]
    this.#texts.set(id, parts)
    this.#send({ kind: 'generate', id, request })
    try {
      yield* parts.read(signal, () => this.#send({ kind: 'cancel', id }))
    } finally {
      this.#texts.delete(id)
    }
  }

  async status(): Promise<EngineStatus> {
    const id = ++this.#number
    try {
      return await new Promise((resolve, reject) => {
        this.#statuses.set(id, { resolve, reject })
        this.#send({ kind: 'status', id })
      })
    } finally {
      this.#statuses.delete(id)
    }
  }

  /** Whoever waits for an answer gets this instead. */
  fail(error: Error): void {
    for (const text of this.#texts.values()) text.onError(error)
    for (const { reject } of this.#statuses.values()) reject(error)
  }

  async close(): Promise<void> {
    this.#send({ kind: 'close' })
    await this.gone
  }

  #send(message: ToEngine): void {
    this.#worker.postMessage(message)
  }

  #take(message: FromEngine): void {
    if (message.kind === 'part') this.#texts.get(message.id)?.onPart(message.part)
    else if (message.kind === 'error') this.#texts.get(message.id)?.onError(errorOf(message.error))
    else if (message.kind === 'status') this.#statuses.get(message.id)?.resolve(message.status)
  }
}
