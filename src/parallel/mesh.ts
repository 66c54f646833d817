// How the ranks of a world are arranged: each has a place on every axis, and ranks that differ on one axis alone are a group.
// A batch is divided among `data`, `shard` and `expert`; ranks along `tensor` and `pipeline` work on the same part of it.

import { ConfigError, invariant } from '../errors.ts'

/** Axes, innermost first: ranks along `tensor` are neighbours, who talk most (as Megatron's order tp-ep-dp-pp). */
export const meshAxes = ['tensor', 'expert', 'shard', 'data', 'pipeline'] as const

export type MeshAxis = (typeof meshAxes)[number]

/** Ranks along each axis; their product is the world's size. */
export type MeshSizes = Readonly<Record<MeshAxis, number>>

/** A rank's place on each axis. */
export type MeshPlace = Readonly<Record<MeshAxis, number>>

/** The axes whose ranks read different parts of a batch, innermost first. */
export const batchAxes = ['expert', 'shard', 'data'] as const satisfies readonly MeshAxis[]

/** Sizes of all axes, 1 where none is given. */
export function meshSizes(given: Partial<MeshSizes> = {}): MeshSizes {
  return { tensor: 1, expert: 1, shard: 1, data: 1, pipeline: 1, ...given }
}

/** Ranks in all. */
export const worldSize = (sizes: MeshSizes): number => meshAxes.reduce((size, axis) => size * sizes[axis], 1)

/**
 * Sizes as people write them, `expert=4,data=2`.
 *
 * @throws ConfigError for an axis or a size that does not exist
 */
export function parseMesh(text: string): MeshSizes {
  const given: Partial<Record<MeshAxis, number>> = {}
  for (const part of text.split(',').map(each => each.trim())) {
    const [, axis = '', size = ''] = /^([a-z]+)=([1-9]\d{0,5})$/.exec(part) ?? []
    if (!isAxis(axis)) {
      throw new ConfigError(`'${part}' is no axis=size: as in expert=4,data=2, of ${meshAxes.join(', ')}`, {
        path: 'mesh',
      })
    }
    if (given[axis] !== undefined) throw new ConfigError(`${axis} is given twice`, { path: 'mesh' })
    given[axis] = Number(size)
  }
  return meshSizes(given)
}

/** The sizes of a mesh as `parseMesh` reads them; `one rank` when there is nothing to say. */
export function describeMesh(sizes: MeshSizes): string {
  const parts = meshAxes.filter(axis => sizes[axis] > 1).map(axis => `${axis}=${sizes[axis]}`)
  return parts.length > 0 ? parts.join(',') : 'one rank'
}

/** Where a rank stands: the digits of its number, innermost first. */
export function placeOf(rank: number, sizes: MeshSizes): MeshPlace {
  const place = { tensor: 0, expert: 0, shard: 0, data: 0, pipeline: 0 }
  let rest = rank
  for (const axis of meshAxes) {
    place[axis] = rest % sizes[axis]
    rest = Math.floor(rest / sizes[axis])
  }
  invariant(rest === 0, 'a rank is below the size of its world')
  return place
}

/** The rank at a place. */
export function rankAt(place: MeshPlace, sizes: MeshSizes): number {
  return meshAxes.reduceRight((rank, axis) => rank * sizes[axis] + place[axis], 0)
}

/** The ranks that differ from a place on these axes alone, in ascending order. */
export function groupRanks(place: MeshPlace, sizes: MeshSizes, along: readonly MeshAxis[]): number[] {
  const all = Array.from({ length: worldSize(sizes) }, (_, rank) => rank)
  const fixed = meshAxes.filter(axis => !along.includes(axis))
  return all.filter(rank => {
    const other = placeOf(rank, sizes)
    return fixed.every(axis => other[axis] === place[axis])
  })
}

const isAxis = (name: string): name is MeshAxis => (meshAxes as readonly string[]).includes(name)
