// Hints as routing: tokens get the experts that a recording foretells by their ids, in place of those that the router chooses.
// Shapes: T tokens, V vocabulary, N known tokens, K slots of a token.

import { ConfigError } from '../../errors.ts'
import type { CausalLM } from '../../models/index.ts'
import {
  Agreement,
  layersOfChoice,
  type MoeLayer,
  type Reroute,
  rechosen,
  reroute,
  type TokenRouting,
} from '../../moe/index.ts'
import { noGrad, type Tensor, tensor, tidy, where } from '../../torch/index.ts'
import type { ExpertGrid } from '../cache/policy.ts'
import { type HintTable, readHints } from './hint-table.ts'

/** The experts that a model's hints are about. @throws ConfigError for a model whose tokens choose none */
export function hintedGrid(model: CausalLM): ExpertGrid {
  const layers = layersOfChoice(model)
  const [first] = layers
  if (!first) throw new ConfigError('are for models whose tokens choose experts', { path: 'hints' })
  return { layers: layers.length, experts: Math.max(...layers.map(({ gate }) => gate.numExperts)) }
}

/**
 * From now on the layers of a model serve what hints say, weighed by the router's probabilities. Tokens that hints do not know
 * go to the experts that the router chooses. What is foretold is known before the first layer runs: as `prefetch`, too, the
 * same hints are never wrong.
 */
export class ServedHints implements Disposable {
  readonly #agreement: Agreement
  readonly #tensors: Tensor[] = []
  readonly #undone: (() => void)[]

  /** @throws ConfigError for hints of a model of other sizes */
  constructor(model: CausalLM, { hints, ...about }: HintTable) {
    const grid = hintedGrid(model)
    if (about.layers !== grid.layers || about.experts !== grid.experts)
      throw new ConfigError('are for a model of other sizes', { path: 'hints' })
    this.#agreement = new Agreement(model.device)
    const keep = (numbers: Int32Array, shape: readonly number[]): Tensor => {
      const kept = tidy(() => tensor(numbers).view(shape).long().to(model.device)).persist()
      this.#tensors.push(kept)
      return kept
    }
    const known = [...hints.keys()].filter(id => id < model.config.vocab_size)
    const rowOf = new Int32Array(model.config.vocab_size) // 0: not known
    for (const [row, id] of known.entries()) rowOf[id] = row + 1
    const rows = keep(rowOf, [rowOf.length])
    this.#undone = layersOfChoice(model).map((layer, i) => {
      const foretold = [[], ...known.map(id => hints.get(id)?.[i] ?? [])]
      const table = keep(slotsOf(foretold, layer), [foretold.length, layer.gate.active])
      return reroute(layer, this.#following(rows, table))
    })
  }

  /** Reads them from a file. @throws FormatError, ConfigError as readHints() */
  static read(model: CausalLM, file: string): ServedHints {
    return new ServedHints(model, readHints(file, hintedGrid(model)))
  }

  /** Experts that routers chose, and of them those that were served. */
  get counts(): { chosen: number; served: number } {
    return this.#agreement.counts
  }

  /** @param rows i64 [V]; @param table i64 [N + 1, K] */
  #following(rows: Tensor, table: Tensor): Reroute {
    return (chosen, ids) => {
      const served = ids === null ? chosen : foretold(chosen, table.indexSelect(0, rows.take(ids)))
      this.#agreement.note(chosen, served)
      return served
    }
  }

  [Symbol.dispose](): void {
    for (const undo of this.#undone) undo()
    for (const each of this.#tensors) each.dispose()
    this.#agreement[Symbol.dispose]()
  }
}

/** `[rows, K]`, -1 where a slot holds none; of what is foretold no more than fits. */
function slotsOf(foretold: readonly (readonly number[])[], { gate: { active } }: MoeLayer): Int32Array {
  const slots = new Int32Array(foretold.length * active).fill(-1)
  for (const [row, experts] of foretold.entries()) slots.set(experts.slice(0, active), row * active)
  return slots
}

/** @param experts i64 [T, K]; a token without any is not known */
function foretold(chosen: TokenRouting, experts: Tensor): TokenRouting {
  const indices = noGrad(() =>
    tidy(() => {
      const isRouted = chosen.indices.ge(0).any(-1, true) // [T, 1]: no padding
      const isKnown = experts.ge(0).any(-1, true) // [T, 1]
      return where(isKnown.logicalAnd(isRouted), experts, chosen.indices)
    }),
  )
  return rechosen(chosen, indices)
}
