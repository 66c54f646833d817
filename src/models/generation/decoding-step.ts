// A step of decoding: one more token of each text, or of some of them.
// Shapes: B texts that get one, V vocabulary.

import { Places, type RowCache } from '../../nn/index.ts'
import { record, type Tape, type Tensor, tensor, zeros } from '../../torch/index.ts'
import type { CausalLM } from '../stack/language-model.ts'
import type { LayerRouting } from '../stack/layers.ts'
import type { Tokens } from '../stack/tokens.ts'

/** Where layers chose experts by token. */
export function choicesOf(routings: readonly LayerRouting[]): StepChoices[] {
  return routings.flatMap(({ layer, served }) =>
    served.kind === 'token' ? [{ layer, indices: served.indices, weights: served.weights }] : [],
  )
}

/** What the host does for each operator is done twice: from then on a tape is played, where the model allows one. */
export interface StepOptions {
  /** The task of all texts, for a router that goes by it. */
  task?: number | undefined
  /** The cache's sequences that get a token, in order. Default: all. */
  texts?: readonly number[]
  /** Most experts of each text's token. Default: as many as routers choose. */
  mostExperts?: readonly number[] | undefined
  /** Whether to say which experts were chosen. Default false. */
  isRouted?: boolean
}

/** What a layer's tokens chose. */
export interface StepChoices {
  layer: number
  /** i64 [B, K]; -1 where a slot holds none. */
  indices: Tensor
  /** [B, K] */
  weights: Tensor
}

export class DecodingStep implements Disposable {
  readonly #model: CausalLM
  readonly #cache: RowCache
  readonly #texts: readonly number[]
  readonly #input: Tokens
  readonly #isRouted: boolean
  /** Of which layers choices are said. */
  #layers: readonly number[] = []
  /** A tape knows these tensors, whatever else the cache is used for. */
  readonly #places = new Places()
  #tape: Tape | null = null
  /** The first step makes what is made once, as tables; some routers, experts and rules for long texts need the host always. */
  #next: 'first' | 'record' | 'forward' = 'first'

  constructor(
    model: CausalLM,
    cache: RowCache,
    { task, texts = [...cache.lengths.keys()], mostExperts, isRouted = false }: StepOptions = {},
  ) {
    const integers = (): Tensor => zeros([texts.length], { dtype: 'i64', device: model.device }).persist()
    this.#model = model
    this.#cache = cache
    this.#texts = texts
    this.#isRouted = isRouted
    this.#input = {
      ids: integers(),
      starts: [0, ...Array.from(cache.lengths, (_, b) => texts.filter(text => text <= b).length)],
      positions: integers(),
      extent: 0,
      tasks: task === undefined ? null : integers().fill_(task),
      mostExperts: mostExperts ? integers().copy_(tensor(Int32Array.from(mostExperts))) : null,
    }
  }

  /** Whether steps are played by now. */
  get isPlayed(): boolean {
    return this.#tape !== null
  }

  /** Logits [B, V] after a new token of each of the texts, and where they are asked for the choices. Within inferenceMode(). */
  run(ids: readonly number[]): { logits: Tensor; choices: StepChoices[] } {
    const input = this.#input
    const lengths = this.#texts.map(text => this.#cache.lengths[text] ?? 0)
    input.ids.copy_(tensor(Int32Array.from(ids)))
    input.positions.copy_(tensor(Int32Array.from(lengths)))
    input.extent = Math.max(...lengths) + 1
    this.#cache.place(input.starts, this.#places)
    const [logits, ...choices] = this.#results() as [Tensor, ...Tensor[]]
    return {
      logits,
      choices: this.#layers.map((layer, i) => ({
        ...{ layer, indices: choices[2 * i] as Tensor, weights: choices[2 * i + 1] as Tensor },
      })),
    }
  }

  #results(): readonly Tensor[] {
    if (this.#tape === null) return this.#next === 'record' ? this.#recorded() : this.#forward()
    const results = this.#tape.run()
    this.#cache.advance(this.#input.starts)
    return results
  }

  /** Logits, and then indices and weights of each layer that says them. */
  #forward(): readonly Tensor[] {
    if (this.#next === 'first') this.#next = 'record'
    const { logits, routings } = this.#model.forward(this.#input, { cache: this.#cache })
    const chosen = this.#isRouted ? choicesOf(routings) : []
    this.#layers = chosen.map(({ layer }) => layer)
    return [logits, ...chosen.flatMap(({ indices, weights }) => [indices, weights])]
  }

  #recorded(): readonly Tensor[] {
    this.#next = 'forward'
    const { results, tape } = record(() => this.#forward())
    this.#tape = tape
    return results
  }

  [Symbol.dispose](): void {
    const { ids, positions, tasks, mostExperts } = this.#input
    for (const part of [ids, positions, tasks, mostExperts]) part?.dispose()
    this.#places.dispose()
    this.#tape?.[Symbol.dispose]()
    this.#tape = null
  }
}
