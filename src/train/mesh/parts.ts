// Checkpoints of divided models are those of whole ones: rank 0 writes wholes, and each rank keeps its parts of what it reads. So they
// open on any other mesh, and on one process.

import type { Parameter } from '../../nn/index.ts'
import { filledWhole, partOf, whileWhole } from '../../parallel/index.ts'
import type { ProcessGroup, Tensor } from '../../torch/index.ts'
import type { CheckpointWeights } from '../checkpoint/weights.ts'
import type { SharedTraining } from './shared-training.ts'

/** Weights whose parts come together when they are saved. */
export function partedWeights(
  weights: CheckpointWeights,
  { divisions, cluster }: SharedTraining,
): CheckpointWeights {
  return {
    save: folder => whileWhole(divisions, cluster.isFirst, () => weights.save(folder)),
    load: folder => filledWhole(divisions, () => weights.load(folder)),
  }
}

/** What an optimizer keeps, as `exp_avg.` and the path of a parameter. */
export class PartedStates {
  readonly #shared: SharedTraining
  readonly #parameters: ReadonlyMap<string, Parameter>

  constructor(shared: SharedTraining, parameters: ReadonlyMap<string, Parameter>) {
    this.#shared = shared
    this.#parameters = parameters
  }

  /** A state of which this rank has a part, whole. */
  whole(name: string, state: Tensor): Tensor {
    const group = this.#groupOf(name, state)
    return group ? group.allGather(state) : state
  }

  /** This rank's part of a whole state. */
  part(name: string, whole: Tensor, state: Tensor): Tensor {
    const group = this.#groupOf(name, state)
    return group ? partOf(whole, group) : whole
  }

  /** Who has the other parts: states that go by experts are divided as their parameters are. */
  #groupOf(name: string, state: Tensor): ProcessGroup | null {
    const parameter = this.#parameters.get(name.slice(name.indexOf('.') + 1))
    const division = parameter && this.#shared.divisions.get(parameter)
    return division && state.shape[0] === parameter?.shape[0] ? division.group : null
  }
}
