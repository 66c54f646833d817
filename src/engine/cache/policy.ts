// What a cache of experts asks when it is full, and how a policy is made from settings.

import type { z } from 'zod'

/** The experts of a model as they are counted here: those of its MoE layers alone. */
export interface ExpertGrid {
  /** MoE layers. */
  layers: number
  /** Experts of each. */
  experts: number
}

/**
 * Decides which resident expert gives up its place. Experts are numbers: `layer * experts + expert`, by MoE layers.
 *
 * `now` counts MoE layers that have run: `pass * layers + layer`, where a pass is a token in decoding and a batch of them
 * in prefill. It only grows.
 */
export interface CachePolicy {
  /** An expert was used: a hit, or right after it came in. */
  use(expert: number, now: number): void
  /** Of the resident experts that may go, at least one, the one to go. */
  victim(candidates: Iterable<number>, now: number): number
  /**
   * What an earlier cache has seen, before anything is used: policies that count go on from there.
   *
   * @param uses `[layers * experts]`, which fade as LFRU's do
   */
  start?(uses: readonly number[]): void
  /** A new text begins. Policies that learn what one text is about forget the one before. */
  begin?(): void
}

/** A policy as settings have it. */
export interface PolicyRow<S extends z.ZodType> {
  schema: S
  make(settings: z.infer<S>, grid: ExpertGrid): CachePolicy
}
