// One pass of a model for several texts: pages of prompts and next tokens together, so that an expert that several of them
// choose is read once.
// Shapes: B places, V vocabulary.

import {
  type CausalLM,
  DecodingStep,
  type LayerRouting,
  lastScores,
  type Tokens,
  tokensOfSequences,
} from '../../models/index.ts'
import type { PagedCache } from '../../nn/index.ts'
import { inferenceMode, type Tensor, tidy } from '../../torch/index.ts'
import type { RunningText } from './running-text.ts'

/** Is told what layers decided of prompts. */
export type RoutingListener = (routings: readonly LayerRouting[]) => void

export class Batch implements Disposable {
  readonly #model: CausalLM
  readonly #cache: PagedCache
  readonly #onRouting: RoutingListener
  /** Steps of one set of texts are played from a tape, until another set has a turn. */
  #step: { step: DecodingStep; sequences: string } | null = null

  constructor(model: CausalLM, cache: PagedCache, onRouting: RoutingListener) {
    this.#model = model
    this.#cache = cache
    this.#onRouting = onRouting
  }

  /** Whether the angles of a text follow from its own length alone, so that texts can be read together. */
  get isShared(): boolean {
    return this.#model.model.inv_freq !== null
  }

  /** Lets texts read what is next for them; the scores of what each of them asks for, [V] each. */
  run(texts: readonly RunningText[]): Map<RunningText, Float32Array[]> {
    if (!this.isShared) return new Map(texts.flatMap(text => [...this.#together([text])]))
    return this.#together(texts.toSorted((a, b) => a.place.sequence - b.place.sequence))
  }

  #together(texts: readonly RunningText[]): Map<RunningText, Float32Array[]> {
    const isStep = this.isShared && texts.every(text => !text.isReading)
    return isStep ? this.#decode(texts) : this.#read(texts)
  }

  #decode(texts: readonly RunningText[]): Map<RunningText, Float32Array[]> {
    const sequences = texts.map(text => text.place.sequence)
    if (this.#step?.sequences !== sequences.join()) {
      this.forget()
      const step = new DecodingStep(this.#model, this.#cache, undefined, sequences)
      this.#step = { step, sequences: sequences.join() }
    }
    const { step } = this.#step as { step: DecodingStep }
    const scores = lastScores(() => step.run(texts.flatMap(text => text.next)))
    return new Map(texts.map((text, i) => [text, [scores[i] as Float32Array]]))
  }

  #read(texts: readonly RunningText[]): Map<RunningText, Float32Array[]> {
    const rows = this.#cache.lengths.map((): readonly number[] => [])
    for (const text of texts) rows[text.place.sequence] = text.next
    const wanted = wantedRows(texts)
    const scores = this.#scores(() => this.#tokensOf(rows, texts), [...wanted.values()].flat())
    return new Map(texts.map(text => [text, scores.splice(0, wanted.get(text)?.length)]))
  }

  #tokensOf(rows: readonly (readonly number[])[], texts: readonly RunningText[]): Tokens {
    const past = this.#cache.lengths
    // Rules for long texts go by where a prompt ends, not by where a page does.
    const extents = texts.map(({ prompt, place }) => Math.max(prompt.length, (past[place.sequence] ?? 0) + 1))
    return { ...tokensOfSequences(rows, { past, device: this.#model.device }), extent: Math.max(...extents) }
  }

  #scores(tokens: () => Tokens, logitsAt: readonly number[]): Float32Array[] {
    const forward = (): Tensor => {
      const { logits, routings } = this.#model.forward(tokens(), { cache: this.#cache, logitsAt })
      this.#onRouting(routings)
      return logits
    }
    if (logitsAt.length > 0) return lastScores(forward)
    inferenceMode(() =>
      tidy(() => this.#onRouting(this.#model.model.forward(tokens(), this.#cache).routings)),
    )
    return []
  }

  /** Whatever was begun and not ended is given up. */
  forget(): void {
    this.#step?.step[Symbol.dispose]()
    this.#step = null
  }

  [Symbol.dispose](): void {
    this.forget()
  }
}

/** The numbers of the tokens whose scores each text wants, where their next tokens stand one text after the other. */
function wantedRows(texts: readonly RunningText[]): Map<RunningText, number[]> {
  const wanted = new Map<RunningText, number[]>()
  let start = 0
  for (const text of texts) {
    const { length } = text.next
    const numbers = { none: [], last: [start + length - 1], all: Array.from({ length }, (_, i) => start + i) }
    wanted.set(text, numbers[text.scored])
    start += length
  }
  return wanted
}
