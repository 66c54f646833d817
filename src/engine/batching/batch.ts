// One pass of a model for several texts: pages of prompts and next tokens together, so that an expert that several of them
// choose is read once.
// Shapes: B places, V vocabulary.

import {
  type CausalLM,
  choicesOf,
  DecodingStep,
  type LayerRouting,
  lastScores,
  type StepChoices,
  type Tokens,
  tokensOfSequences,
} from '../../models/index.ts'
import type { PagedCache } from '../../nn/index.ts'
import { inferenceMode, kernelFor, type Tensor, tidy } from '../../torch/index.ts'
import { pageTokens } from './pages.ts'
import type { RoutedTokens } from './request.ts'
import { routedTokens } from './routed.ts'
import type { AskedText, RunningText } from './running-text.ts'

/** Is told of passes of the model. */
export interface BatchListener {
  /** Texts are about to be read, in this order. */
  onTexts(texts: readonly AskedText[]): void
  /** What layers decided of prompts. */
  onRouting(routings: readonly LayerRouting[]): void
}

/** What a text gets for its next tokens. */
export interface Outcome {
  /** Of those that it asks scores of, [V] each. */
  scores: readonly Float32Array[]
  /** Of all of them, where it asks for that. */
  routing: RoutedTokens | null
  /** The sum of the hidden states of each page, [D], where it asks for that. */
  hiddenSums: readonly Float64Array[]
}

export class Batch implements Disposable {
  readonly #model: CausalLM
  readonly #cache: PagedCache
  readonly #listener: BatchListener
  /** Steps of one set of texts are played from a tape, until another set has a turn. */
  #step: { step: DecodingStep; of: string } | null = null

  constructor(model: CausalLM, cache: PagedCache, listener: BatchListener) {
    this.#model = model
    this.#cache = cache
    this.#listener = listener
  }

  /** Whether the angles of a text follow from its own length alone, so that texts can be read together. */
  get isShared(): boolean {
    return this.#model.model.inv_freq !== null
  }

  /**
   * Whether pages that are read at once give to the bit what they give one after the other: the kernel of attention sums block by
   * block of a page, where libraries go by how many tokens there are.
   */
  get readsPagesAlike(): boolean {
    const { cacheShapes, model } = this.#model
    const hasKernel = kernelFor('attentionCached', model.norm.weight) !== null
    return hasKernel && cacheShapes.every(({ values }) => values !== null)
  }

  /** Lets texts read what is next for them. */
  run(texts: readonly RunningText[]): Map<RunningText, Outcome> {
    if (!this.isShared) return new Map(texts.flatMap(text => [...this.#together([text])]))
    return this.#together(texts.toSorted((a, b) => a.place.sequence - b.place.sequence))
  }

  #together(texts: readonly RunningText[]): Map<RunningText, Outcome> {
    this.#listener.onTexts(texts.map(({ asked }) => asked))
    const isStep = this.isShared && texts.every(text => !text.isReading)
    const routed = new RoutingOfTexts(texts)
    const sums = new Map<RunningText, Float64Array[]>()
    const scores = isStep ? this.#decode(texts, routed) : this.#read(texts, routed, sums)
    return new Map(
      texts.map(text => [
        text,
        { scores: scores.get(text) ?? [], routing: routed.of(text), hiddenSums: sums.get(text) ?? [] },
      ]),
    )
  }

  #decode(texts: readonly RunningText[], routed: RoutingOfTexts): Map<RunningText, Float32Array[]> {
    const { step } = this.#stepOf(texts, routed.isWanted)
    const scores = lastScores(() => {
      const { logits, choices } = step.run(texts.flatMap(text => text.next))
      routed.note(choices)
      return logits
    })
    return new Map(texts.map((text, i) => [text, [scores[i] as Float32Array]]))
  }

  #stepOf(texts: readonly RunningText[], isRouted: boolean): { step: DecodingStep } {
    const sequences = texts.map(text => text.place.sequence)
    const mostExperts = mostExpertsOf(texts, () => 1)
    const of = JSON.stringify([sequences, isRouted, mostExperts])
    if (this.#step?.of === of) return this.#step
    this.forget()
    const step = new DecodingStep(this.#model, this.#cache, { texts: sequences, isRouted, mostExperts })
    this.#step = { step, of }
    return this.#step
  }

  #read(
    texts: readonly RunningText[],
    routed: RoutingOfTexts,
    sums: Map<RunningText, Float64Array[]>,
  ): Map<RunningText, Float32Array[]> {
    const wanted = wantedRows(texts)
    const note = ({ hidden, routings }: PassOutput): void => {
      this.#listener.onRouting(routings)
      if (routed.isWanted) routed.note(choicesOf(routings))
      noteHiddenSums(texts, hidden, sums)
    }
    const scores = this.#scores(() => this.#tokensOf(texts), [...wanted.values()].flat(), note)
    return new Map(texts.map(text => [text, scores.splice(0, wanted.get(text)?.length)]))
  }

  #tokensOf(texts: readonly RunningText[]): Tokens {
    const past = this.#cache.lengths
    const rows = past.map((): readonly number[] => [])
    for (const text of texts) rows[text.place.sequence] = text.next
    const mostExperts = mostExpertsOf(texts, text => text.next.length)
    const tokens = tokensOfSequences(rows, { past, device: this.#model.device, mostExperts })
    // Rules for long texts go by where a prompt ends, not by where a page does.
    const extents = texts.map(({ prompt, place }) => Math.max(prompt.length, (past[place.sequence] ?? 0) + 1))
    return { ...tokens, extent: Math.max(...extents) }
  }

  #scores(
    tokens: () => Tokens,
    logitsAt: readonly number[],
    note: (output: PassOutput) => void,
  ): Float32Array[] {
    const forward = (): Tensor => {
      const output = this.#model.forward(tokens(), { cache: this.#cache, logitsAt })
      note(output)
      return output.logits
    }
    if (logitsAt.length > 0) return lastScores(forward)
    inferenceMode(() => tidy(() => note(this.#model.model.forward(tokens(), this.#cache))))
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

/** What a pass gives beside logits. */
interface PassOutput {
  /** [N, D] of all tokens, one text after the other. */
  hidden: Tensor
  routings: readonly LayerRouting[]
}

/** Of each text that asks for it, page by page: how many are read at once changes no bit. */
function noteHiddenSums(
  texts: readonly RunningText[],
  hidden: Tensor,
  sums: Map<RunningText, Float64Array[]>,
): void {
  let start = 0
  for (const text of texts) {
    const { length } = text.next
    if (text.asked.isEmbedded) {
      const pages = hidden.narrow(0, start, length).split(pageTokens)
      sums.set(
        text,
        pages.map(page => page.double().sum(0).toTypedArray<'f64'>().slice()),
      )
    }
    start += length
  }
}

/** What the next tokens of texts chose, of those that ask for it. */
class RoutingOfTexts {
  readonly #texts: readonly RunningText[]
  #all: RoutedTokens | null = null

  constructor(texts: readonly RunningText[]) {
    this.#texts = texts
  }

  get isWanted(): boolean {
    return this.#texts.some(({ asked }) => asked.isRouted)
  }

  note(choices: readonly StepChoices[]): void {
    if (this.isWanted)
      this.#all = routedTokens(
        this.#texts.flatMap(text => text.next),
        choices,
      )
  }

  /** Before the text reads on. */
  of(text: RunningText): RoutedTokens | null {
    if (!text.asked.isRouted || this.#all === null) return null
    const before = this.#texts.slice(0, this.#texts.indexOf(text))
    const start = before.reduce((sum, { next }) => sum + next.length, 0)
    const { layers, tokens } = this.#all
    return { layers, tokens: tokens.slice(start, start + text.next.length) }
  }
}

/** Most experts of each token, where a text wants fewer than there are. */
function mostExpertsOf(
  texts: readonly RunningText[],
  tokensOf: (text: RunningText) => number,
): number[] | undefined {
  if (texts.every(({ asked }) => asked.expertsPerToken === undefined)) return undefined
  return texts.flatMap(text =>
    new Array<number>(tokensOf(text)).fill(text.asked.expertsPerToken ?? allExperts),
  )
}

/** More than any token chooses. */
const allExperts = 2 ** 30

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
