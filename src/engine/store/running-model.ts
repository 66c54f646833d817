// A model while it runs, as its store and guesses see it: which tokens pass, and what the layer reads whose turn it is.

import type { CausalLM } from '../../models/index.ts'
import type { ExpertWeights, MoeLayer, Router, Routing, TokenContext } from '../../moe/index.ts'
import { type Tensor, tidy } from '../../torch/index.ts'
import type { ModelSight } from '../prefetch/prefetcher.ts'
import type { Pass } from './pass.ts'

export class RunningModel implements ModelSight {
  readonly gates: readonly Router<Routing>[]
  input: ModelSight['input'] = null
  readonly #model: CausalLM
  #context: TokenContext = {}

  /** @param layers those with experts, in order */
  constructor(model: CausalLM, layers: readonly MoeLayer[]) {
    this.gates = layers.map(({ gate }) => gate)
    this.#model = model
  }

  /** Says from now on when new tokens come. */
  follow(onPass: (pass: Pass) => void): void {
    this.#model.model.onTokens = ({ ids, starts, positions, tasks = null }) => {
      this.#context = { ids, starts, tasks }
      onPass({
        ids: numbersOf(ids),
        begins: numbersOf(positions).includes(0),
        isDecoding: starts.every((start, b) => start - (starts[b - 1] ?? 0) <= 1), // places of an engine may be empty
      })
    }
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
}

const numbersOf = (tensor: Tensor): number[] => tidy(() => [...tensor.to('i32').toTypedArray<'i32'>()])
