// In decoding, tokens choose among the experts that are in memory, and nobody waits for a file.
// Shapes: T tokens, E experts, K slots per token.

import { chosenAmong, type MoeLayer, type Reroute, reroute, type TokenRouting } from '../../moe/index.ts'
import { type Tensor, tensor, tidy } from '../../torch/index.ts'
import type { ExpertStore } from './expert-store.ts'

/**
 * From now on the layers of a store choose so. A layer of which fewer experts are in memory than a token chooses is free to
 * choose, and prompts are: so experts come to be there.
 *
 * @returns makes layers choose again as they did
 */
export function chooseAmongResidents(layers: readonly MoeLayer[], store: ExpertStore): () => void {
  const undone = layers.map((layer, i) => reroute(layer, amongResidents(store, i)))
  return () => {
    for (const undo of undone) undo()
  }
}

function amongResidents(store: ExpertStore, layer: number): Reroute {
  return chosen => {
    if (!store.isDecoding) return chosen
    const here = new Set(store.residentsOf(layer))
    const wanted = expertsOf(chosen)
    const missed = wanted.filter(expert => !here.has(expert))
    const isFree = here.size < chosen.indices.size(-1)
    store.counts.noteChoices(wanted.length, isFree ? 0 : missed.length)
    if (isFree || missed.length === 0) return chosen
    const served = chosenAmong(chosen, maskOf(here, chosen.probs.size(-1)))
    store.readBehind(layer, missed, expertsOf(served))
    return served
  }
}

/** In order, of each slot that holds one. */
const expertsOf = ({ indices }: TokenRouting): number[] =>
  tidy(() => [...indices.to('i32').toTypedArray<'i32'>()]).filter(expert => expert >= 0)

/** bool [E] */
const maskOf = (some: ReadonlySet<number>, experts: number): Tensor =>
  tidy(() => tensor(Uint8Array.from({ length: experts }, (_, e) => Number(some.has(e)))).to('bool'))
