// A model while it runs, as its store and guesses see it: which tokens pass, and what the layer reads whose turn it is.

import type { CausalLM, Tokens } from '../../models/index.ts'
import type { ExpertWeights, MoeLayer, Router, Routing, TokenContext } from '../../moe/index.ts'
import { type Tensor, tidy } from '../../torch/index.ts'
import type { ModelSight } from '../prefetch/prefetcher.ts'
import type { Pass } from './expert-store.ts'

export class RunningModel implements ModelSight {
  readonly gates: readonly Router<Routing>[]
  input: ModelSight['input'] = null
  /** Is told when new tokens come. */
  onPass: (pass: Pass) => void = () => undefined
  #context: TokenContext = {}

  /** @param layers those with experts, in order */
  constructor(model: CausalLM, layers: readonly MoeLayer[]) {
    this.gates = layers.map(({ gate }) => gate)
    model.model.onTokens = tokens => this.#begin(tokens)
  }

  /** The same weights, which show what they are given while it is mixed. */
  watched(weights: ExpertWeights): ExpertWeights {
    return {
      ...weights,
      mix: (x, routing, form) => {
        this.input = { x, context: this.#context }
        try {
          return weights.mix(x, routing, form)
        } finally {
          this.input = null
        }
      },
    }
  }

  #begin({ ids, starts, positions, tasks = null }: Tokens): void {
    const [numbers, places] = [numbersOf(ids), numbersOf(positions)]
    this.#context = { ids, starts, tasks }
    this.onPass({
      ids: numbers,
      begins: places.includes(0),
      isDecoding: ids.size(0) === starts.length - 1,
    })
  }
}

const numbersOf = (tensor: Tensor): number[] => tidy(() => [...tensor.to('i32').toTypedArray<'i32'>()])
