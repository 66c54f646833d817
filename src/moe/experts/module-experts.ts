// Experts that are modules of any kind: of other widths, depths or activations, or not feed-forward at all.
// Shapes: N rows grouped by expert, D model.

import { ConfigError, invariant } from '../../errors.ts'
import { Module } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import type { Experts } from '../contracts.ts'
import type { TokenRouting } from '../routing/token.ts'
import { mixGrouped } from './experts.ts'
import { throughGroups } from './groups.ts'

/** Anything that maps rows to rows of the same width: [n, D] -> [n, D]. */
export type ExpertModule = Module & { forward(x: Tensor): Tensor }

/**
 * `expert_e(x) = module_e(x)`. A module's parameters are named by its place, as in `0.up_proj.weight`, like those of a
 * ModuleList in PyTorch. A module given twice is one set of parameters. Modules run one after the other, each on the
 * rows that chose it; one that nobody chose is not called.
 *
 * @throws ConfigError for an empty list, and in computing for a module that changes the shape of its rows
 */
export class ModuleExperts<M extends ExpertModule = ExpertModule> extends Module implements Experts {
  readonly [index: number]: M
  readonly numExperts: number

  constructor(modules: readonly M[]) {
    super()
    if (modules.length === 0) {
      throw new ConfigError('the list of modules is empty; give at least one', { path: 'experts' })
    }
    this.numExperts = modules.length
    Object.assign(this, modules)
  }

  mix(xTD: Tensor, routing: TokenRouting): Tensor {
    return mixGrouped(xTD, routing, this)
  }

  grouped(xND: Tensor, counts: readonly number[]): Tensor {
    return throughGroups(xND, counts, (e, group) => this.expert(e, group))
  }

  expert(index: number, x: Tensor): Tensor {
    const module = this[index]
    invariant(module, `no expert ${index} of ${this.numExperts}`)
    const y = module.forward(x)
    if (y.shape.join() === x.shape.join()) return y
    throw new ConfigError(
      `expert ${index} made [${y.shape}] of [${x.shape}]; its output must be shaped as its input`,
      { path: `experts.${index}` },
    )
  }
}
