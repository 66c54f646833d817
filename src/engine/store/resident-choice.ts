// In decoding, tokens choose among the experts that are in memory, all of them or those of some texts, which do not wait for a
// file.
// Shapes: T tokens, E experts, K slots per token.

import { chosenAmong, type MoeLayer, type Reroute, reroute, type TokenRouting } from '../../moe/index.ts'
import { type Tensor, tensor, tidy, where } from '../../torch/index.ts'
import type { ExpertStore } from './expert-store.ts'

/**
 * From now on the layers of a store let those tokens choose so that are to. A layer of which fewer experts are in memory than a token chooses is free to
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
    const [tokens, slots] = chosen.indices.shape as [number, number]
    const isAmong = store.choosingAmongResidents(tokens)
    if (!isAmong.includes(true)) return chosen
    const here = new Set(store.residentsOf(layer))
    const wanted = expertsOf(chosen, isAmong)
    const missed = wanted.filter(expert => !here.has(expert))
    const isFree = here.size < slots
    store.counts.noteChoices(wanted.length, isFree ? 0 : missed.length)
    if (isFree || missed.length === 0) return chosen
    const among = chosenAmong(chosen, maskOf(here, chosen.probs.size(-1)))
    const served = isAmong.includes(false) ? mixedRows(chosen, among, isAmong) : among
    store.readBehind(layer, missed, expertsOf(served))
    return served
  }
}

/** One routing for some tokens, and another for the others. */
function mixedRows(others: TokenRouting, some: TokenRouting, isSome: readonly boolean[]): TokenRouting {
  return tidy(() => {
    const rows = tensor(Uint8Array.from(isSome, Number)).to('bool').unsqueeze(-1) // [T, 1]
    const indices = where(rows, some.indices, others.indices)
    return { ...others, indices, weights: where(rows, some.weights, others.weights) }
  })
}

/** In order, of each slot that holds one; of some tokens alone. */
function expertsOf({ indices }: TokenRouting, isMeant?: readonly boolean[]): number[] {
  const slots = indices.size(-1)
  const experts = tidy(() => [...indices.to('i32').toTypedArray<'i32'>()])
  return experts.filter((expert, i) => expert >= 0 && isMeant?.[Math.floor(i / slots)] !== false)
}

/** bool [E] */
const maskOf = (some: ReadonlySet<number>, experts: number): Tensor =>
  tidy(() => tensor(Uint8Array.from({ length: experts }, (_, e) => Number(some.has(e)))).to('bool'))
