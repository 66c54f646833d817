// A command that many processes run as one: how they meet, and how they leave when one of them fails.

import { availableParallelism } from 'node:os'
import type { Command } from 'commander'
import type { Cluster, MeshSizes, Placing } from '../parallel/index.ts'
import { reportError } from './report.ts'
import { numberOf } from './values.ts'

export interface MeshFlags {
  mesh?: string
  rankTimeout?: number
}

export function withMeshOptions(command: Command): Command {
  return command
    .option('--mesh <sizes>', 'how ranks share the work, as expert=4,data=2')
    .option(
      '--rank-timeout <s>',
      'how long ranks wait for each other (default: 300)',
      numberOf('--rank-timeout', { above: 0, most: 86_400 }),
    )
}

/**
 * Runs a function with the ranks that were started together; with null where this process is alone. When one fails all leave, each with
 * the same line, which names it, and an exit code that says to start them again.
 *
 * @param command what ran, whose options errors are told by
 */
export async function together(
  flags: MeshFlags,
  command: Command,
  body: (cluster: Cluster | null) => Promise<void>,
): Promise<void> {
  const { placingOf } = await import('../parallel/index.ts')
  const placing = placingOf(process.env)
  if (placing === null) {
    await refuseMeshAlone(flags)
    return body(null)
  }
  shareCores(placing)
  const cluster = await meet(placing, flags)
  try {
    await body(cluster)
    cluster.barrier()
  } catch (error) {
    return await leaveAtOnce(error, cluster, command)
  }
  cluster.leave()
}

/** A mesh of several ranks, and nobody who started them. */
async function refuseMeshAlone({ mesh }: MeshFlags): Promise<void> {
  if (mesh === undefined) return
  const { parseMesh, refuseOtherSize } = await import('../parallel/index.ts')
  refuseOtherSize(parseMesh(mesh), 1)
}

/** Ranks of one machine have its cores together, unless somebody said how many each may use. */
function shareCores({ localSize }: Placing): void {
  const { OMP_NUM_THREADS: wanted } = process.env // which torchrun sets
  const share = Math.max(1, Math.floor(availableParallelism() / localSize))
  process.env.SWITCHYARD_THREADS ??= wanted ?? String(share)
}

async function meet(placing: Placing, { mesh, rankTimeout }: MeshFlags): Promise<Cluster> {
  const { Cluster, meshSizes, parseMesh } = await import('../parallel/index.ts')
  const sizes: MeshSizes = mesh === undefined ? meshSizes({ data: placing.size }) : parseMesh(mesh)
  return Cluster.meet(placing, {
    mesh: sizes,
    ...(rankTimeout !== undefined && { timeout: Math.ceil(rankTimeout * 1000) }),
  })
}

/** Says what failed, and ends: what hangs in a collective is not waited for. */
async function leaveAtOnce(error: unknown, cluster: Cluster, command: Command): Promise<never> {
  const { ClusterError, explainFailure, failureExitCode, tellFailure, untilOthersKnow } = await import(
    '../parallel/index.ts'
  )
  const { exitNow, hangUp } = await import('../torch/index.ts')
  const told = await explainFailure(error, cluster)
  tellFailure(told, cluster)
  const code = reportError(told, command)
  hangUp() // others may wait for this rank, and read why it leaves while the store is there
  await untilOthersKnow(told, cluster)
  return exitNow(told instanceof ClusterError ? failureExitCode : code) as never
}
