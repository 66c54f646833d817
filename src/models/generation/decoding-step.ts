// A step of decoding: one more token of each text, or of some of them.
// Shapes: B texts that get one, V vocabulary.

import { Places, type RowCache } from '../../nn/index.ts'
import { record, type Tape, type Tensor, tensor, zeros } from '../../torch/index.ts'
import type { CausalLM } from '../stack/language-model.ts'
import type { Tokens } from '../stack/tokens.ts'

/** What the host does for each operator is done twice: from then on a tape is played, where the model allows one. */
export class DecodingStep implements Disposable {
  readonly #model: CausalLM
  readonly #cache: RowCache
  readonly #texts: readonly number[]
  readonly #input: Tokens
  /** A tape knows these tensors, whatever else the cache is used for. */
  readonly #places = new Places()
  #tape: Tape | null = null
  /** The first step makes what is made once, as tables; some routers, experts and rules for long texts need the host always. */
  #next: 'first' | 'record' | 'forward' = 'first'

  /**
   * @param task of the texts, for a router that goes by it
   * @param texts the cache's sequences that get a token, in order. Default: all
   */
  constructor(
    model: CausalLM,
    cache: RowCache,
    task?: number | undefined,
    texts: readonly number[] = [...cache.lengths.keys()],
  ) {
    const integers = (): Tensor => zeros([texts.length], { dtype: 'i64', device: model.device }).persist()
    this.#model = model
    this.#cache = cache
    this.#texts = texts
    this.#input = {
      ids: integers(),
      starts: [0, ...Array.from(cache.lengths, (_, b) => texts.filter(text => text <= b).length)],
      positions: integers(),
      extent: 0,
      tasks: task === undefined ? null : integers().fill_(task),
    }
  }

  /** Whether steps are played by now. */
  get isPlayed(): boolean {
    return this.#tape !== null
  }

  /** Logits [B, V] after a new token of each of the texts. Within inferenceMode(). */
  run(ids: readonly number[]): Tensor {
    const input = this.#input
    const lengths = this.#texts.map(text => this.#cache.lengths[text] ?? 0)
    input.ids.copy_(tensor(Int32Array.from(ids)))
    input.positions.copy_(tensor(Int32Array.from(lengths)))
    input.extent = Math.max(...lengths) + 1
    this.#cache.place(input.starts, this.#places)
    if (this.#tape === null) return this.#next === 'record' ? this.#recorded() : this.#forward()
    const logits = this.#tape.run()
    this.#cache.advance(input.starts)
    return logits
  }

  #forward(): Tensor {
    if (this.#next === 'first') this.#next = 'record'
    return this.#model.forward(this.#input, { cache: this.#cache }).logits
  }

  #recorded(): Tensor {
    this.#next = 'forward'
    const { result, tape } = record(() => this.#forward())
    this.#tape = tape
    return result
  }

  [Symbol.dispose](): void {
    const { ids, positions, tasks } = this.#input
    for (const part of [ids, positions, tasks]) part?.dispose()
    this.#places.dispose()
    this.#tape?.[Symbol.dispose]()
    this.#tape = null
  }
}
