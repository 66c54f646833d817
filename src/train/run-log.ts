// What a run writes down as it goes: metrics.jsonl and TensorBoard events.

import type { Traffic } from '../torch/index.ts'
import type { Evaluation } from './evaluate.ts'
import { MetricsFile } from './metrics/jsonl.ts'
import { EventWriter } from './metrics/tensorboard.ts'
import type { PreferenceScore } from './preference.ts'
import type { RunFolder } from './run-folder.ts'
import type { StepResult } from './step.ts'

/** What is known of a step. */
export interface StepRecord extends StepResult {
  step: number
  /** Tokens trained on so far. */
  tokens: number
  learningRate: number
  seconds: number
  tokensPerSecond: number
  /** Most bytes that tensors took on the device so far, all of the process; when observed. */
  peakMemory?: number
  /** What rank 0 has sent to others since the last line, by kind: messages and bytes. */
  sent?: Record<string, Traffic>
}

/** What is written down of a run. */
export interface StepLog {
  /** A step, if it was observed or skipped. */
  step(record: StepRecord): void
  evaluation(step: number, evaluation: Evaluation): void
  preferences(step: number, score: PreferenceScore): void
  /** Sends what is written to the disk. */
  flush(): void
  close(): void
}

export class RunLog implements StepLog {
  readonly #metrics: MetricsFile
  readonly #events: EventWriter

  /** @param resumedFrom the step that a resumed run goes on from; null for a new one */
  constructor(run: RunFolder, resumedFrom: number | null) {
    this.#metrics = new MetricsFile(run.metrics, resumedFrom ?? undefined)
    this.#events = new EventWriter(run.path)
    if (resumedFrom !== null) this.#events.restart(resumedFrom + 1)
  }

  step(record: StepRecord): void {
    const { losses, routing, retrieval, ...rest } = record
    if (!losses && record.updated !== false) return
    this.#metrics.write({
      ...rest,
      ...(losses && { losses, routing, ...(retrieval?.length && { retrieval }) }),
    })
    if (losses) this.#events.scalars(record.step, { ...named('loss', losses), ...scalarsOf(record) })
  }

  evaluation(step: number, evaluation: Evaluation): void {
    this.#metrics.write({ step, evaluation })
    const { loss, bitsPerByte, domains } = evaluation
    const perDomain = Object.fromEntries(domains.map(({ name, loss: value }) => [name, value]))
    this.#events.scalars(step, {
      'validation/loss': loss,
      'validation/bitsPerByte': bitsPerByte,
      ...named('validation', perDomain),
    })
  }

  preferences(step: number, score: PreferenceScore): void {
    this.#metrics.write({ step, preferences: score })
    this.#events.scalars(step, named('validation', { ...score }))
  }

  flush(): void {
    this.#metrics.flush()
  }

  close(): void {
    this.#metrics.close()
    this.#events.close()
  }
}

const named = (prefix: string, values: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}/${name}`, value]))

function scalarsOf({
  gradientNorm,
  learningRate,
  tokensPerSecond,
  peakMemory = 0,
  routing = [],
  retrieval = [],
}: StepRecord): Record<string, number> {
  const layers = routing.map(({ layer, maxOverMean, dead, dropped, entropy }) =>
    named(`routing/layer${layer}`, { maxOverMean, dead, dropped, entropy }),
  )
  const retrievals = retrieval.map(({ layer, used, unevenness }) =>
    named(`retrieval/layer${layer}`, { used, unevenness }),
  )
  return Object.assign({ gradientNorm, learningRate, tokensPerSecond, peakMemory }, ...layers, ...retrievals)
}
