// What training by many ranks adds to training alone. The loss of a step is the sum of what ranks compute, each by the share of the
// batch that it has, so that gradients add up over all who hold the same parameter.

import { ConfigError } from '../../errors.ts'
import type { TrainableModel } from '../../models/index.ts'
import { CentroidRouter, MoeLayer, overBatch } from '../../moe/index.ts'
import type { Parameter } from '../../nn/index.ts'
import { batchAxes, type Cluster, type Divisions, divideModel, type MeshAxis } from '../../parallel/index.ts'
import {
  manualSeed,
  noGrad,
  type ProcessGroup,
  stack,
  type Tensor,
  type Traffic,
  tensor,
  tidy,
  traffic,
  zerosLike,
} from '../../torch/index.ts'
import { gradientNorm } from '../optimizer/clip.ts'
import { sumGradients } from './sum-gradients.ts'

export class SharedTraining {
  readonly cluster: Cluster
  readonly divisions: Divisions
  readonly #model: TrainableModel
  #sentBefore: ReadonlyMap<string, Traffic> = new Map()

  /** Divides a model that is the same on all ranks. */
  constructor(cluster: Cluster, model: TrainableModel) {
    this.cluster = cluster
    this.#model = model
    this.divisions = divideModel(model, cluster)
  }

  /** @throws ConfigError for what needs to know all of a batch that ranks may have unequal parts of */
  refuseUneven(hasRowsOfOneLength: boolean): void {
    if (this.batch.isAlone) return
    for (const [path, part] of this.#model.namedModules()) {
      if (part instanceof CentroidRouter)
        throw new ConfigError(`${path} moves its centres by all tokens of a batch: train it on one process`, {
          path: 'mesh',
        })
      if (part instanceof MoeLayer && part.dispatch.isOverBatch && !hasRowsOfOneLength)
        throw new ConfigError(
          `${path} has a capacity for the batch, of which ranks have unequal parts: set dispatch to dropless`,
          { path: 'mesh' },
        )
    }
  }

  get batch(): ProcessGroup {
    return this.cluster.batch
  }

  /** This rank's part of the rows of a micro-batch. */
  rowsOf<T>(rows: readonly T[]): T[] {
    const { rank, size } = this.batch
    const length = rows.length / size
    return rows.slice(rank * length, (rank + 1) * length)
  }

  /** What ranks draw differs between them, and is the same when a run goes on: a stream for each step. */
  seedStep(seed: number, step: number): void {
    const { rank } = this.batch
    if (rank > 0) manualSeed((seed * 1_000_003 + step * 8_191 + rank) % 2 ** 31)
  }

  /** A sum of counts over the ranks that have other parts of the batch. */
  total(count: number): number {
    return this.batch.isAlone
      ? count
      : tidy(() => this.batch.sumOver(tensor([count], { dtype: 'f64' })).item())
  }

  /** Losses and balance are of the whole batch in a step. */
  within<T>(body: () => T): T {
    const { batch } = this
    return batch.isAlone ? body() : overBatch.among(part => batch.statistic(part), body)
  }

  /** Adds gradients up over ranks. A parameter that was used on one rank alone has a gradient on all. */
  sumGradients(parameters: readonly Parameter[]): void {
    this.#completeGradients(parameters)
    for (const [axes, alike] of this.#byAxes(parameters, this.#axesOfSum))
      sumGradients(alike, this.cluster.along(axes))
  }

  /** The norm of all gradients as one vector, of which other ranks have parts. */
  gradientNorm(parameters: readonly Parameter[]): Tensor {
    const parts = [...this.#byAxes(parameters, this.#axesOfParts)].map(([axes, alike]) =>
      this.cluster.along(axes).sumOver(gradientNorm(alike).double().square()),
    )
    return noGrad(() => (parts.length === 0 ? tensor(0) : stack(parts).sum().sqrt()))
  }

  /** Losses by name, which each rank has of its part: their sum over ranks, each by its share. */
  totalLosses(losses: Readonly<Record<string, number>>): Record<string, number> {
    const names = Object.keys(losses)
    const sums = tidy(() =>
      this.batch.sumOver(tensor(Object.values(losses), { dtype: 'f64' })).toTypedArray<'f64'>(),
    )
    return Object.fromEntries(names.map((name, i) => [name, sums[i] ?? Number.NaN]))
  }

  /** What this rank has sent since it was last asked, by kind. */
  sent(): Record<string, Traffic> {
    const now = traffic()
    const since = [...now].map(([what, { calls, bytes }]) => {
      const before = this.#sentBefore.get(what) ?? { calls: 0, bytes: 0 }
      return [what, { calls: calls - before.calls, bytes: bytes - before.bytes }] as const
    })
    this.#sentBefore = now
    return Object.fromEntries(since.filter(([, { calls }]) => calls > 0))
  }

  #completeGradients(parameters: readonly Parameter[]): void {
    noGrad(() =>
      tidy(() => {
        const here = tensor(parameters.map(({ grad }) => (grad === null ? 0 : 1)))
        const anywhere = this.cluster.world.sumOver(here).toTypedArray<'f32'>()
        for (const [i, parameter] of parameters.entries())
          if (anywhere[i] && parameter.grad === null) parameter.grad = zerosLike(parameter)
      }),
    )
  }

  readonly #axesOfSum = (parameter: Parameter): MeshAxis[] => {
    const axis = this.divisions.get(parameter)?.axis
    return batchAxes.filter(each => each !== axis)
  }

  readonly #axesOfParts = (parameter: Parameter): MeshAxis[] => {
    const axis = this.divisions.get(parameter)?.axis
    return axis ? [axis] : []
  };

  /** Parameters by what a function says of them, in the order of the model: the same on all ranks. */
  *#byAxes(
    parameters: readonly Parameter[],
    axesOf: (parameter: Parameter) => MeshAxis[],
  ): Generator<[MeshAxis[], Parameter[]]> {
    const groups = new Map<string, { axes: MeshAxis[]; alike: Parameter[] }>()
    for (const parameter of parameters) {
      const axes = axesOf(parameter)
      const entry = groups.get(axes.join()) ?? { axes, alike: [] }
      groups.set(axes.join(), entry)
      entry.alike.push(parameter)
    }
    for (const { axes, alike } of groups.values()) yield [axes, alike]
  }
}

/** What a recipe must be like for ranks to share it. */
interface SharedRecipe {
  device: string
  batchSize: number
}

/** @throws ConfigError where ranks would have unequal parts of a batch, or what they send is not in host memory */
export function refuseUnshared({ device, batchSize }: SharedRecipe, { size }: ProcessGroup): void {
  if (device !== 'cpu')
    throw new ConfigError(`${device} trains alone: ranks talk by Gloo, from host memory, so set cpu`, {
      path: 'device',
    })
  if (batchSize % size === 0) return
  throw new ConfigError(
    `${batchSize} rows are not divided evenly among the ${size} ranks of data, shard and expert: make it a multiple of ${size}`,
    { path: 'data.batchSize' },
  )
}
