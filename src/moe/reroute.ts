// Where tokens can be given other experts than their router chose, or fewer of them: another text, sooner.

import type { Module } from '../nn/index.ts'
import { noGrad, type Tensor, tidy, zeros } from '../torch/index.ts'
import { MoeLayer } from './layer.ts'
import { ExpertChoiceRouter } from './routers/expert-choice.ts'
import { SoftRouter } from './routers/soft.ts'
import type { TokenRouting } from './routing/token.ts'

/**
 * What becomes of a choice.
 *
 * @param ids i64 [T] of the tokens, where they are known
 */
export type Reroute = (chosen: TokenRouting, ids: Tensor | null) => TokenRouting

/** The layers of a model whose tokens choose experts, in order. */
export function layersOfChoice(model: Module): MoeLayer[] {
  return [...model.namedModules()].flatMap(([, module]) =>
    module instanceof MoeLayer && !choosesTokens(module.gate) ? [module] : [],
  )
}

const choosesTokens = (gate: Module): boolean =>
  gate instanceof ExpertChoiceRouter || gate instanceof SoftRouter

/**
 * From now on a layer serves what becomes of its tokens' choices. Texts that are being written go on as they began.
 *
 * @returns makes the layer serve again as it did
 */
export function reroute(layer: MoeLayer, change: Reroute): () => void {
  const { dispatch } = layer
  layer.dispatch = {
    mix: (x, chosen, all, context) => dispatch.mix(x, change(chosen, context.ids ?? null), all, context),
  }
  return () => {
    layer.dispatch = dispatch
  }
}

/** How many of the experts that routers chose were served. It counts where the tokens are, so that nobody waits for it. */
export class Agreement implements Disposable {
  readonly #counts: Tensor // [2]: chosen, and of them served

  constructor(device: Tensor['device']) {
    this.#counts = zeros([2], { dtype: 'i64', device }).persist()
  }

  note(chosen: TokenRouting, served: TokenRouting): void {
    noGrad(() =>
      tidy(() => {
        const isChosen = chosen.indices.ge(0) // [T, K]
        const isServed = chosen.indices.unsqueeze(-1).eq(served.indices.unsqueeze(-2)).any(-1) // [T, K]
        this.#counts.select(0, 0).add_(isChosen.sum())
        this.#counts.select(0, 1).add_(isChosen.logicalAnd(isServed).sum())
      }),
    )
  }

  get counts(): { chosen: number; served: number } {
    const [chosen = 0, served = 0] = tidy(() => [...this.#counts.double().toTypedArray<'f64'>()])
    return { chosen, served }
  }

  [Symbol.dispose](): void {
    this.#counts.dispose()
  }
}
