// A step of decoding: one more token of each text.
// Shapes: B texts, V vocabulary.

import type { ContiguousCache } from '../../nn/index.ts'
import { record, type Tape, type Tensor, tensor, zeros } from '../../torch/index.ts'
import type { CausalLM } from '../stack/language-model.ts'
import type { Tokens } from '../stack/tokens.ts'

/** What the host does for each operator is done twice: from then on a tape is played, where the model allows one. */
export class DecodingStep implements Disposable {
  readonly #model: CausalLM
  readonly #cache: ContiguousCache
  readonly #input: Tokens
  #tape: Tape | null = null
  /** The first step makes what is made once, as tables; some routers, experts and rules for long texts need the host always. */
  #next: 'first' | 'record' | 'forward' = 'first'

  /** @param task of the texts, for a router that goes by it */
  constructor(model: CausalLM, cache: ContiguousCache, task: number | undefined) {
    const count = cache.lengths.length
    const integers = (): Tensor => zeros([count], { dtype: 'i64', device: model.device }).persist()
    this.#model = model
    this.#cache = cache
    this.#input = {
      ids: integers(),
      starts: Array.from({ length: count + 1 }, (_, b) => b),
      positions: integers(),
      extent: 0,
      tasks: task === undefined ? null : integers().fill_(task),
    }
  }

  /** Whether steps are played by now. */
  get isPlayed(): boolean {
    return this.#tape !== null
  }

  /** Logits [B, V] after a new token of each text. Within inferenceMode(). */
  run(ids: readonly number[]): Tensor {
    const input = this.#input
    const { lengths } = this.#cache
    input.ids.copy_(tensor(Int32Array.from(ids)))
    input.positions.copy_(tensor(Int32Array.from(lengths)))
    input.extent = Math.max(...lengths) + 1
    this.#cache.place(input.starts)
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
  }
}
