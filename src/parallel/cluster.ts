// The ranks of a run, met and arranged: groups along the axes of a mesh, and what all must have alike.

import { ConfigError, TorchError } from '../errors.ts'
import {
  hasDistributed,
  joinWorld,
  leaveWorld,
  noteProgress,
  ProcessGroup,
  startBeats,
  tensor,
  tidy,
  worldStore,
  zeros,
} from '../torch/index.ts'
import {
  batchAxes,
  describeMesh,
  groupRanks,
  type MeshAxis,
  type MeshPlace,
  type MeshSizes,
  meshAxes,
  placeOf,
  worldSize,
} from './mesh.ts'
import type { Placing } from './placing.ts'

/** Signs of life, in milliseconds. */
export const beatInterval = 500

export interface ClusterOptions {
  mesh: MeshSizes
  /** How long ranks wait for each other, in milliseconds. Default 300,000. */
  timeout?: number
}

export class Cluster {
  readonly placing: Placing
  readonly mesh: MeshSizes
  readonly place: MeshPlace
  readonly timeout: number
  readonly #groups = new Map<string, ProcessGroup>()

  private constructor(placing: Placing, mesh: MeshSizes, timeout: number) {
    this.placing = placing
    this.mesh = mesh
    this.timeout = timeout
    this.place = placeOf(placing.rank, mesh)
  }

  /**
   * Meets the other ranks.
   *
   * @throws ConfigError where the mesh is not the world's size, where ranks do not come within the time, or with another mesh
   */
  static meet(placing: Placing, { mesh, timeout = 300_000 }: ClusterOptions): Cluster {
    refuseOtherSize(mesh, placing.size)
    if (!hasDistributed())
      throw new ConfigError(
        'this build knows one process alone: apt-get install libgloo-dev, and build again',
        {
          path: 'mesh',
        },
      )
    join(placing, timeout)
    const cluster = new Cluster(placing, mesh, timeout)
    cluster.#refuseAbsent()
    cluster.demandAlike({ mesh: describeMesh(mesh) })
    startBeats(beatKey(placing.rank), beatInterval)
    for (const axes of [...meshAxes.map(axis => [axis]), [...batchAxes], ['shard', 'data']] as MeshAxis[][])
      cluster.along(axes)
    return cluster
  }

  get rank(): number {
    return this.placing.rank
  }

  get size(): number {
    return this.placing.size
  }

  /** Rank 0 tells, and writes what is written once. */
  get isFirst(): boolean {
    return this.rank === 0
  }

  /** The ranks that differ from this one on these axes alone. All ranks ask for the same axes, in the same order. */
  along(axes: readonly MeshAxis[]): ProcessGroup {
    const wanted = meshAxes.filter(axis => axes.includes(axis) && this.mesh[axis] > 1)
    const ranks = groupRanks(this.place, this.mesh, wanted)
    const name = `${wanted.join('+')}/${ranks[0]}`
    const known = this.#groups.get(name)
    if (known) return known
    const { timeout } = this
    const group = new ProcessGroup({ name, rank: ranks.indexOf(this.rank), size: ranks.length, timeout })
    this.#groups.set(name, group)
    return group
  }

  /** Who reads other parts of a batch. */
  get batch(): ProcessGroup {
    return this.along(batchAxes)
  }

  get world(): ProcessGroup {
    return this.along(meshAxes)
  }

  /** What rank 0 says: the same text on all ranks. All ask for it once. */
  agree(what: string, say: () => string): string {
    if (this.isFirst) worldStore.set(`agreed/${what}`, say())
    return this.#hear(`agreed/${what}`)
  }

  /** Waits for all ranks. */
  barrier(): void {
    tidy(() => void this.world.sumOver(zeros([1])))
  }

  /** Whether it is so on any rank: the same answer on all. */
  any(here: boolean): boolean {
    return tidy(() => this.world.sumOver(tensor([here ? 1 : 0])).item() > 0)
  }

  /** What others read of this rank when they look for who is late. */
  note(progress: string): void {
    noteProgress(progress)
  }

  leave(): void {
    leaveWorld()
  }

  /**
   * Waits for what a rank says.
   *
   * @throws TorchError when the time is over, or a rank has failed meanwhile
   */
  #hear(key: string): string {
    for (const until = performance.now() + this.timeout; ; ) {
      try {
        return worldStore.get(key, beatInterval)
      } catch (error) {
        if (performance.now() > until || worldStore.has(failureKey)) throw error
      }
    }
  }

  /** @throws ConfigError that names who has not come */
  #refuseAbsent(): void {
    worldStore.set(`here/${this.rank}`, '1')
    const until = performance.now() + this.timeout
    for (let rank = 0; rank < this.size; rank++) {
      try {
        worldStore.get(`here/${rank}`, Math.max(1, Math.round(until - performance.now())))
      } catch (error) {
        if (!(error instanceof TorchError)) throw error
        const absent = Array.from({ length: this.size }, (_, each) => each).filter(
          each => !worldStore.has(`here/${each}`),
        )
        throw new ConfigError(
          `${ranksInWords(absent)} of ${this.size} did not come within ${this.timeout / 1000} s: look at what started ${absent.length > 1 ? 'them' : 'it'}`,
          { path: 'mesh', cause: error },
        )
      }
    }
  }

  /**
   * Compares what must be the same on all ranks, each by what it is called: a version, fingerprints of recipe and corpus.
   *
   * @throws ConfigError on every rank, which names who differs from rank 0 and in what
   */
  demandAlike(own: Readonly<Record<string, string>>): void {
    const key = (rank: number): string => `alike/${Object.keys(own).join('+')}/${rank}`
    worldStore.set(key(this.rank), JSON.stringify(own))
    const all = Array.from(
      { length: this.size },
      (_, rank) => JSON.parse(this.#hear(key(rank))) as Record<string, string>,
    )
    const [first = {}] = all
    for (const what of Object.keys(own)) {
      const unlike = all.flatMap((other, rank) => (other[what] === first[what] ? [] : rank))
      if (unlike.length > 0)
        throw new ConfigError(
          `${ranksInWords(unlike)} ${unlike.length > 1 ? 'have' : 'has'} another ${what} than rank 0: start all alike`,
          { path: 'mesh' },
        )
    }
  }
}

/** Where the first to know says who failed. */
export const failureKey = 'failure'

/** Where a rank's signs of life are. */
export const beatKey = (rank: number): string => `beat/${rank}`

/** `rank 2`, `ranks 1, 3`. */
export const ranksInWords = (ranks: readonly number[]): string =>
  `rank${ranks.length === 1 ? '' : 's'} ${ranks.join(', ')}`

/** @throws ConfigError where the mesh has another number of ranks than were started */
export function refuseOtherSize(mesh: MeshSizes, size: number): void {
  const wanted = worldSize(mesh)
  if (wanted === size) return
  throw new ConfigError(
    size === 1
      ? `${describeMesh(mesh)} is of ${wanted} ranks, this process is alone: start ${wanted}, as torchrun or launch do`
      : `${describeMesh(mesh)} is of ${wanted} ranks, ${size} were started: start ${wanted}, or divide ${size} among the axes`,
    { path: 'mesh' },
  )
}

function join({ host, port, rank, isServed, runId, restarts }: Placing, timeout: number): void {
  const serves = rank === 0 && !isServed
  try {
    joinWorld({ host, port, serves, prefix: `switchyard/${runId}/${restarts}`, timeout })
  } catch (error) {
    if (!(error instanceof TorchError)) throw error
    const isTaken = /address already in use|EADDRINUSE/i.test(error.message)
    throw new ConfigError(
      isTaken
        ? `${port} is taken on this machine: choose another for all ranks`
        : `rank ${rank} reaches nobody at ${host}:${port} within ${timeout / 1000} s: rank 0 is to listen there`,
      { path: isTaken ? 'MASTER_PORT' : 'MASTER_ADDR', cause: error },
    )
  }
}
