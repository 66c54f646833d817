// Guesses of what the next layers will need, made while it is not yet known: what a store and a replay ask for them.
// Shapes: T tokens, D model.

import { z } from 'zod'
import type { Router, Routing, TokenContext } from '../../moe/index.ts'
import type { Tensor } from '../../torch/index.ts'
import type { ExpertGrid } from '../cache/policy.ts'
import type { Step } from '../trace/choices.ts'

export interface Prefetcher {
  /** Learns from a step, once it is known what it needs. */
  observe(step: Step): void
  /** Experts of the layers after the one that runs, those first that are needed first, and of these the surest. */
  predict(step: Step): number[]
  /** As predict(), of the first layers, before any has run: where the tokens alone say something. */
  foresee?(ids: readonly number[]): number[]
}

/**
 * Setting of guesses that can be made for several layers. Default 1: experts of the second have twice the time to come, but
 * are less sure, and take places for longer, so that more were missed (docs/caches.md).
 */
export const layersAhead = z.int().min(1).max(8).optional()

/** The next layers after one, at most so many; of -1 the first ones. */
export function layersAfter(layer: number, most: number, { layers }: ExpertGrid): number[] {
  return Array.from({ length: Math.min(most, layers - 1 - layer) }, (_, i) => layer + 1 + i)
}

/** A running model, as far as guesses go by it. */
export interface ModelSight {
  /** Of the MoE layers. */
  readonly gates: readonly Router<Routing>[]
  /** What the MoE layer reads that runs, [T, D], and what its gate is told; null between layers. */
  readonly input: { x: Tensor; context: TokenContext } | null
}

/** What guesses are about. */
export interface PrefetchSubject {
  grid: ExpertGrid
  /** Experts that one token chooses in a layer. */
  topK: number
  /** Null where only choices are known, as in a recording. */
  model: ModelSight | null
}

/** A kind of guesses as settings have it. */
export interface PrefetchRow<S extends z.ZodType> {
  schema: S
  /** Null: nothing is guessed. */
  make(settings: z.infer<S>, subject: PrefetchSubject): Prefetcher | null
}
