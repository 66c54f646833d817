// Modules of a model that note what goes into their matrices, and compute as before.
// Shapes: N rows, D model, F expert width, K columns.

import type { CausalLM } from '../../models/index.ts'
import {
  type ExpertForm,
  type ExpertWeights,
  matricesOf,
  type Projections,
  StackedExperts,
  sortedDispatch,
} from '../../moe/index.ts'
import { Linear, Module, type Parameter, replaceModules } from '../../nn/index.ts'
import { cat, type Tensor, tidy } from '../../torch/index.ts'
import type { InputTally } from './squares.ts'

/** Notes rows of inputs, [..., K], of one matrix of a parameter. */
type Note = (parameter: Parameter, matrix: number, x: Tensor) => void

/**
 * From now on the model tells `tally` what goes into its linear layers, its head and its stacked experts; routers are
 * left out, which are never rounded. It goes on for as long as the model lives.
 */
export function observeInputs(model: CausalLM, tally: InputTally): void {
  const paths = new Map([...model.stateDict()].map(([path, tensor]) => [tensor as Tensor, path]))
  const note: Note = (parameter, matrix, x) => {
    const matrices = parameter.declaration.stacked ? parameter.size(0) : 1
    const path = paths.get(parameter) ?? ''
    tidy(() => tally.add(path, matrices, matrix, x.reshape([-1, x.size(-1)])))
  }
  for (const [, module] of model.namedModules())
    if (module instanceof StackedExperts) module.serveFrom(observedExperts(module.stacks, note))
  replaceModules(model, module => {
    const isMatrix = module instanceof Linear && module.weight.declaration.role !== 'router'
    return isMatrix ? new ObservedLinear(module, note) : undefined
  })
}

/** A linear layer that notes its inputs. */
class ObservedLinear extends Module {
  readonly weight: Parameter
  readonly bias: Parameter | null
  readonly #linear: Linear
  readonly #note: Note

  constructor(linear: Linear, note: Note) {
    super()
    this.weight = linear.weight
    this.bias = linear.bias
    this.#linear = linear
    this.#note = note
  }

  forward(x: Tensor): Tensor {
    this.#note(this.weight, 0, x)
    return this.#linear.forward(x)
  }
}

/** Experts one after the other, what goes into their two matrices noted. */
function observedExperts(stacks: Projections<Parameter>, note: Note): ExpertWeights {
  const expert = (index: number, x: Tensor, form: ExpertForm): Tensor => {
    const matrices = matricesOf(stacks, index)
    note(stacks.up, index, x)
    const hidden = form.hidden(x, matrices) // [n, F]
    note(stacks.down, index, hidden)
    return form.project(hidden, matrices)
  }
  const grouped: ExpertWeights['grouped'] = (xND, counts, form) => {
    const groups = xND.splitWithSizes(counts)
    const outputs = groups.flatMap((group, e) =>
      counts[e] === 0 ? [] : [tidy(() => expert(e, group, form))],
    )
    return outputs.length > 0 ? cat(outputs) : xND.mul(0)
  }
  return {
    mix(xTD, routing, form) {
      const { x: rows, counts, combine } = sortedDispatch(xTD, routing)
      return combine(grouped(rows, counts, form))
    },
    grouped,
    expert: (index, x, form) => expert(index, x, form),
  }
}
