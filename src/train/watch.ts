// Looks for what goes wrong slowly: experts that nobody chooses any more, a loss that runs away.

import type { TrainingState } from './checkpoint/checkpoint.ts'
import type { StepRecord } from './run-log.ts'

/** Observations in a row before something is said. */
const patience = 10
/** Nats above the best loss so far that are no noise of batches. */
const runaway = 1
/** Evaluations in a row that are no better, while the loss falls to this share: no noise either. */
const worseEvaluations = 3
const better = 0.9

/** Warnings about a run, each once. */
export class TrainingWatch {
  readonly #deadFor = new Map<number, number>()
  readonly #told = new Set<string>()
  #best = Number.POSITIVE_INFINITY
  #aboveFor = 0
  /** Evaluations since the best. */
  #worseFor = 0
  /** The loss that was last seen, and that when validation was best. */
  #total = Number.POSITIVE_INFINITY
  #totalAtBest = Number.POSITIVE_INFINITY

  /** What an observed step gives reason to say; [] for one that was not observed. */
  observe({ losses, routing = [] }: Pick<StepRecord, 'losses' | 'routing'>): string[] {
    const found = routing.flatMap(({ layer, load }) => this.#collapse(layer, load) ?? [])
    this.#total = losses?.total ?? this.#total
    const diverging = losses?.total === undefined ? null : this.#divergence(losses.total)
    return [...found, ...(diverging ? [diverging] : [])]
  }

  /** What an evaluation gives reason to say; `best` is the best one so far, and `improved` whether this is it. */
  evaluated(best: TrainingState['best'], improved: boolean): string[] {
    if (improved || best === null) {
      this.#worseFor = 0
      this.#totalAtBest = this.#total
      return []
    }
    this.#worseFor++
    if (this.#worseFor < worseEvaluations || this.#total > better * this.#totalAtBest) return []
    const message = this.#once(
      'overfit',
      `validation was best at step ${best.step}, and since then only the loss on what is trained on has fallen: the model overfits; ` +
        'its best checkpoint stays (checkpoint.keepBest), and evaluation.patience ends a run',
    )
    return message === null ? [] : [message]
  }

  /** Half of a layer's experts, or more, with under 1% of the mean load, again and again. */
  #collapse(layer: number, load: readonly number[]): string | null {
    const mean = load.reduce((sum, count) => sum + count, 0) / load.length
    const dead = load.filter(count => count < 0.01 * mean).length
    const rounds = dead * 2 >= load.length && load.length > 1 ? (this.#deadFor.get(layer) ?? 0) + 1 : 0
    this.#deadFor.set(layer, rounds)
    if (rounds < patience) return null
    return this.#once(
      `layer ${layer}`,
      `layer ${layer}: ${dead} of ${load.length} experts get no tokens any more; raise losses.balance.coefficient, or ` +
        'lower optimizer.groups.router.scale',
    )
  }

  #divergence(loss: number): string | null {
    if (loss < this.#best) this.#best = loss
    this.#aboveFor = loss <= this.#best + runaway ? 0 : this.#aboveFor + 1 // NaN is no lower than anything
    if (this.#aboveFor < patience) return null
    return this.#once(
      'loss',
      `the loss stays at ${loss.toFixed(2)}, above its best of ${this.#best.toFixed(2)}; lower optimizer.learningRate, ` +
        'lengthen schedule.warmup, or raise losses.z',
    )
  }

  #once(about: string, message: string): string | null {
    if (this.#told.has(about)) return null
    this.#told.add(about)
    return message
  }
}
