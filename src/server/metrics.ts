// What Prometheus reads: vLLM's names, which dashboards know, and our own beside them.

import { Counter, Histogram, Registry } from 'prom-client'
import type { EngineStatus, TextEnd, TextPart } from '../engine/index.ts'
import { registerEngineSeries } from './engine-series.ts'
import { finishReason } from './openai/answers.ts'
import type { ServedModel } from './served-model.ts'

/** Seconds, from a step of a small model to a long prompt of a large one. */
const latencies = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

export class Metrics {
  readonly #registry = new Registry()
  readonly #models: readonly ServedModel[]
  /** Of models that are loaded, by name. */
  readonly #statuses = new Map<string, EngineStatus>()

  readonly #timeToFirstToken = this.#histogram(
    'vllm:time_to_first_token_seconds',
    'From the request to its first token.',
  )
  readonly #interToken = this.#histogram(
    'vllm:inter_token_latency_seconds',
    'From one token of a text to the next.',
  )
  readonly #endToEnd = this.#histogram(
    'vllm:e2e_request_latency_seconds',
    'From the request to its last token.',
  )
  readonly #queue = this.#histogram('vllm:request_queue_time_seconds', 'Until a text had a place.')
  readonly #prefill = this.#histogram(
    'vllm:request_prefill_time_seconds',
    'From then to the end of its prompt.',
  )
  readonly #decode = this.#histogram('vllm:request_decode_time_seconds', 'From then to its last token.')
  readonly #finished: Counter<'model_name' | 'finished_reason'>
  readonly #http: Counter<'method' | 'path' | 'status'>

  /** @param mostExperts series of single experts of each model */
  constructor(models: readonly ServedModel[], mostExperts = 0) {
    this.#models = models
    this.#finished = new Counter({
      name: 'vllm:request_success_total',
      help: 'Texts that ended, by why.',
      labelNames: ['model_name', 'finished_reason'],
      registers: [this.#registry],
    })
    this.#http = new Counter({
      name: 'switchyard_http_requests_total',
      help: 'Requests by path and status.',
      labelNames: ['method', 'path', 'status'],
      registers: [this.#registry],
    })
    registerEngineSeries(this.#registry, this.#statuses, mostExperts)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** All series, as they are now; of an engine that is started again, as they were last. */
  async text(): Promise<string> {
    for (const { id, engine } of this.#models.filter(({ engine }) => engine.isReady)) {
      const status = await engine.status()
      if (status) this.#statuses.set(id, status)
      else this.#statuses.delete(id)
    }
    return this.#registry.metrics()
  }

  countRequest(method: string, path: string, status: number): void {
    this.#http.inc({ method, path, status })
  }

  /** The same parts of one text, which are timed on their way. */
  async *watch(model: string, parts: AsyncIterable<TextPart>): AsyncGenerator<TextPart, void> {
    const start = performance.now()
    let last: number | null = null
    for await (const part of parts) {
      const now = performance.now()
      if (part.tokens.length > 0) {
        if (last === null) this.#timeToFirstToken(model, (now - start) / 1000)
        else this.#interToken(model, (now - last) / 1000)
        last = now
      }
      if (part.end) this.#end(model, part.end, (now - start) / 1000)
      yield part
    }
  }

  #end(model: string, end: TextEnd, seconds: number): void {
    this.#endToEnd(model, seconds)
    this.#queue(model, end.seconds.queued)
    this.#prefill(model, end.seconds.prompt)
    this.#decode(model, end.seconds.writing)
    this.#finished.inc({ model_name: model, finished_reason: finishReason(end) })
  }

  #histogram(name: string, help: string): (model: string, seconds: number) => void {
    const histogram = new Histogram({
      ...{ name, help, buckets: latencies, labelNames: ['model_name'] as const },
      registers: [this.#registry],
    })
    return (model_name, seconds) => histogram.observe({ model_name }, seconds)
  }
}
