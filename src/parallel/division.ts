// Which parameters are divided among ranks, and how parts become wholes again.

import { ConfigError } from '../errors.ts'
import { MoeLayer, StackedExperts } from '../moe/index.ts'
import type { Module, Parameter } from '../nn/index.ts'
import { empty, noGrad, type ProcessGroup, type Tensor, tidy } from '../torch/index.ts'
import type { Cluster } from './cluster.ts'
import { DividedExperts } from './divided-experts.ts'
import type { MeshAxis, MeshSizes } from './mesh.ts'
import { overWholeBatch } from './whole-batch.ts'

/** How a parameter is divided: along its first dimension, in blocks of equal size in the order of ranks. */
export interface Division {
  axis: MeshAxis
  group: ProcessGroup
}

/** Divisions by parameter; one that is not there is whole on every rank. */
export type Divisions = ReadonlyMap<Parameter, Division>

/**
 * Leaves each rank of the axis `expert` its block of every layer's experts, and lets tokens travel to theirs. Capacity is of the whole
 * batch from now on.
 *
 * @param model the same on all ranks
 * @throws ConfigError for experts that cannot be divided
 */
export function divideModel(model: Module, cluster: Cluster): Divisions {
  refuseUntrained(cluster.mesh)
  const group = cluster.along(['expert'])
  const divisions = new Map<Parameter, Division>()
  for (const [path, layer] of model.namedModules()) {
    if (!(layer instanceof MoeLayer)) continue
    layer.dispatch = overWholeBatch(layer.dispatch, cluster.batch)
    if (group.isAlone) continue
    const experts = divisible(layer.experts, path, group)
    for (const [, parameter] of experts.namedParameters()) {
      takePart(parameter, group)
      divisions.set(parameter, { axis: 'expert', group })
    }
    experts.serveFrom(new DividedExperts(experts, group))
  }
  return divisions
}

/** @throws ConfigError for axes that are planned for (`inspect --plan`) and not trained along */
function refuseUntrained(mesh: MeshSizes): void {
  for (const axis of ['tensor', 'pipeline'] as const) {
    if (mesh[axis] > 1)
      throw new ConfigError(
        `${axis}=${mesh[axis]} can be planned, not trained: ranks share work along data, shard and expert`,
        { path: 'mesh' },
      )
  }
}

function divisible(experts: Module, path: string, { size }: ProcessGroup): StackedExperts {
  if (!(experts instanceof StackedExperts))
    throw new ConfigError(`${path} has experts of a kind that is not divided: leave expert=${size} out`, {
      path: 'mesh',
    })
  if (experts.numExperts % size !== 0)
    throw new ConfigError(`expert=${size} does not divide the ${experts.numExperts} experts of ${path}`, {
      path: 'mesh',
    })
  if ([...experts.parameters()].some(({ encoding }) => encoding !== null))
    throw new ConfigError(
      `the experts of ${path} stay as their file encodes them, which is not divided: set model.weights to decoded`,
      { path: 'mesh' },
    )
  return experts
}

/** This rank's block of a tensor that all have whole: [n S, ...] -> [S, ...]. */
export function partOf(whole: Tensor, { rank, size }: ProcessGroup): Tensor {
  const length = whole.size(0) / size
  return whole.narrow(0, rank * length, length)
}

function takePart(parameter: Parameter, group: ProcessGroup): void {
  noGrad(() => tidy(() => parameter.setData(partOf(parameter.detach(), group).clone())))
}

/**
 * Runs a function, on rank 0 alone, while parameters are whole there. Other ranks pass their parts on one by one.
 */
export function whileWhole(divisions: Divisions, isFirst: boolean, body: () => void): void {
  noGrad(() =>
    tidy(() => {
      const parts = new Map<Parameter, Tensor>()
      for (const [parameter, { group }] of divisions) {
        tidy(() => {
          const whole = group.allGather(parameter.detach())
          if (isFirst) parts.set(parameter, exchange(parameter, whole))
        })
      }
      try {
        if (isFirst) body()
      } finally {
        for (const [parameter, part] of parts) {
          parameter.setData(part)
          part.dispose()
        }
      }
    }),
  )
}

/** Gives a parameter other data; returns what it had. */
function exchange(parameter: Parameter, data: Tensor): Tensor {
  const before = parameter.detach().persist()
  parameter.setData(data)
  return before
}

/** Runs a function that fills parameters while they are whole; each rank keeps its parts of them. */
export function filledWhole(divisions: Divisions, body: () => void): void {
  noGrad(() =>
    tidy(() => {
      for (const [parameter, { group }] of divisions) {
        const [length = 0, ...rest] = parameter.shape
        parameter.setData(
          empty([group.size * length, ...rest], { dtype: parameter.dtype, device: parameter.device }),
        )
      }
      try {
        body()
      } finally {
        for (const [parameter, { group }] of divisions) takePart(parameter, group)
      }
    }),
  )
}
