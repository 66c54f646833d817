// What layers of every model have in common: a feed-forward that may route, and how they are run one after the other.
// Shapes: N tokens, D model.

import type { AnyRouting, LayerContext, MoeOutput, TokenRouting } from '../../moe/index.ts'
import type { Dropout, Module } from '../../nn/index.ts'
import { Tensor, tidy } from '../../torch/index.ts'

/** The block after attention: a dense one returns its output alone, an MoE layer also its routing. */
export type FeedForward = Module & {
  /** x [N, D] -> [N, D] */
  forward(x: Tensor, tokens?: LayerContext): Tensor | MoeOutput<AnyRouting>
  /** See Router.adapt(). */
  adapt?(pace?: number): void
  /** See Router.discard(). */
  discard?(): void
  /** Elements that one token does not use: those of experts that it did not choose. Default: none. */
  readonly inactiveParameters?: number
}

/** What one MoE layer decided, and what capacity left of it. */
export interface LayerRouting {
  layer: number
  chosen: AnyRouting
  served: AnyRouting
}

/** What was decided in the layers in which each token chose experts. */
export function tokenRoutings(routings: readonly LayerRouting[]): TokenRouting[] {
  return routings.flatMap(({ chosen }) => (chosen.kind === 'token' ? chosen : []))
}

/** What a layer gives: hidden states, and where it routes what was decided. */
export type LayerOutput = { hidden: Tensor } & Partial<Omit<LayerRouting, 'layer'>>

/** What a layer adds a feed-forward's output by. */
interface Residual {
  dropout: Dropout
  /** Default 1. */
  scale?: number
}

/** `h + scale dropout(feedForward(x))`, with what the feed-forward decided. */
export function addFeedForward(
  h: Tensor,
  feedForward: FeedForward,
  x: Tensor,
  tokens: LayerContext,
  { dropout, scale = 1 }: Residual,
): LayerOutput {
  const output = feedForward.forward(x, tokens)
  if (output instanceof Tensor) return { hidden: h.add(dropout.forward(output), scale) }
  const { y, routing: chosen, served } = output
  return { hidden: h.add(dropout.forward(y), scale), chosen, served }
}

/**
 * Runs layers on x [N, D], which is given up. One scope per layer: the temporaries of all layers at once would be the peak
 * of memory.
 *
 * @param first number of the first layer, for its routing
 */
export function runLayers<L>(
  layers: readonly L[],
  x: Tensor,
  run: (layer: L, hidden: Tensor, index: number) => LayerOutput,
  first = 0,
): { hidden: Tensor; routings: LayerRouting[] } {
  const routings: LayerRouting[] = []
  let hidden = x
  for (const [i, layer] of layers.entries()) {
    const output = tidy(() => run(layer, hidden, i))
    hidden.dispose()
    hidden = output.hidden
    const { chosen, served = chosen } = output
    if (chosen && served) routings.push({ layer: first + i, chosen, served })
  }
  return { hidden, routings }
}
