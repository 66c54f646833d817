// Which experts tokens chose, layer by layer: what caches and placements are tried on.
// Shapes: T tokens, L MoE layers, K slots of a token in a layer.

import type { ExpertGrid } from '../cache/policy.ts'

/** Marks a slot that holds no expert. */
export const emptySlot = 0xffff

export interface RoutingChoices extends ExpertGrid {
  /** Slots of each token in each layer. */
  topK: number
  /** `[T]` */
  ids: Uint32Array
  /** `[T]`: where each token is in its text; 0 where one begins. */
  positions: Uint32Array
  /** `[T, L, K]`: experts within their layer; emptySlot where there is none. */
  chosen: Uint16Array
}

/** What has to be resident together: the experts of one token in one layer, each once; of several where they go in step. */
export interface Step {
  /** The tokens. */
  ids: readonly number[]
  /** See CachePolicy. */
  now: number
  layer: number
  /** `layer * experts + expert` */
  needed: number[]
  /** Whether a text begins here. */
  begins: boolean
}

/** The steps of decoding one token after the other, each through all layers. */
export function stepsOf({ layers, experts, topK, ids, positions, chosen }: RoutingChoices): Step[] {
  return Array.from({ length: positions.length * layers }, (_, now) => {
    const layer = now % layers
    const slots = chosen.subarray(now * topK, (now + 1) * topK)
    const needed = new Set<number>()
    for (const expert of slots) if (expert !== emptySlot) needed.add(layer * experts + expert)
    const token = Math.floor(now / layers)
    return {
      ids: [ids[token] as number],
      now,
      layer,
      needed: [...needed],
      begins: layer === 0 && positions[token] === 0,
    }
  })
}

/** The most experts that one step needs: fewer than slots where some are always empty, as those of a top-p router. */
export function mostNeeded(steps: readonly Step[]): number {
  return steps.reduce((most, { needed }) => Math.max(most, needed.length), 0)
}

/** Uses of each expert, `[L * E]`, by expert number. */
export function countUses({ layers, experts }: ExpertGrid, steps: readonly Step[]): number[] {
  const counts = new Array<number>(layers * experts).fill(0)
  for (const { needed } of steps) for (const expert of needed) counts[expert]! += 1
  return counts
}
