// Chat templates come with models, whoever made them: each runs in a thread of its own, which ends when it takes too long.

import { Worker } from 'node:worker_threads'
import { SwitchyardError } from '../../errors.ts'
import type { RenderResult, RenderTask } from './render-main.ts'

/** Built code, as a worker has no loader for sources; src/models/files and dist/models/files lie equally deep. */
const builtEntry = new URL('../../../dist/models/files/render-main.js', import.meta.url)

/** Time that a template may take for one conversation. */
const mostSeconds = 2
/** Memory of its thread, in MiB, and characters of what it writes. */
const mostMemory = 256
const mostText = 2 ** 23

/** A template that refuses a conversation, or takes too much for it. */
export class TemplateError extends SwitchyardError {}

export class TemplateThread {
  readonly #template: string
  readonly #seconds: number
  #worker: Worker | null = null
  #last: Promise<unknown> = Promise.resolve()
  #count = 0

  /** @param seconds that one conversation may take */
  constructor(template: string, seconds = mostSeconds) {
    this.#template = template
    this.#seconds = seconds
  }

  /** The text of a conversation; one after the other. @throws TemplateError */
  render(variables: Record<string, unknown>): Promise<string> {
    const next = this.#last.then(() => this.#render(variables))
    this.#last = next.catch(() => undefined)
    return next
  }

  async #render(variables: Record<string, unknown>): Promise<string> {
    const task = { id: ++this.#count, variables }
    const result = await this.#answer(task)
    if ('problem' in result) throw new TemplateError(result.problem)
    if (result.text.length > mostText) throw new TemplateError(`it writes more than ${mostText} characters`)
    return result.text
  }

  #answer(task: RenderTask): Promise<RenderResult> {
    const worker = this.#started()
    worker.postMessage(task) // throws what cannot be copied, before anything waits for it
    return new Promise(resolve => {
      const end = (result: RenderResult): void => {
        clearTimeout(late)
        clearImmediate(later)
        worker.removeAllListeners('message').removeAllListeners('exit')
        resolve(result)
      }
      const fail = (problem: string): void => {
        end({ id: task.id, problem })
        this.#worker = null
        void worker.terminate()
      }
      // Where this thread was busy for so long, an answer may lie there that it has not looked at.
      let later: NodeJS.Immediate | undefined
      const look = (): void => {
        later = setImmediate(() => fail(`it takes longer than ${this.#seconds} s`))
      }
      const late = setTimeout(look, this.#seconds * 1000)
      worker.on('message', end)
      worker.on('exit', () => fail(`it takes more than ${mostMemory} MiB`))
    })
  }

  #started(): Worker {
    if (this.#worker) return this.#worker
    const resourceLimits = { maxOldGenerationSizeMb: mostMemory }
    const worker = new Worker(builtEntry, { workerData: { template: this.#template }, resourceLimits })
    worker.on('error', () => undefined) // its exit says it
    worker.unref() // a server that has stopped need not stop it
    this.#worker = worker
    return worker
  }
}
