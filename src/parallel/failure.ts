// Who is to blame when ranks cannot go on. Every rank gives signs of life with what it does; when a collective fails, whoever gives
// none any more is named, or who is behind the others. The first to know tells the rest, so that all say the same.

import { setTimeout as wait } from 'node:timers/promises'
import { SwitchyardError, TorchError } from '../errors.ts'
import { worldStore } from '../torch/index.ts'
import { beatInterval, beatKey, type Cluster, failureKey, ranksInWords } from './cluster.ts'

/** Another rank is gone or hangs. */
export class ClusterError extends SwitchyardError {
  override readonly name = 'ClusterError'
  readonly ranks: readonly number[]

  constructor(message: string, ranks: readonly number[], cause?: unknown) {
    super(message, { cause })
    this.ranks = ranks
  }
}

/** What a rank last wrote. */
interface Beat {
  count: string
  progress: string
  /** What it waits for; empty while it computes. */
  waiting: string
}

/**
 * What failed, in words for this rank's last line.
 *
 * @returns the error itself where it is not about others
 */
export async function explainFailure(error: unknown, cluster: Cluster): Promise<unknown> {
  if (!isOfOthers(error)) return error
  try {
    const ranks = JSON.parse(worldStore.claim(failureKey, JSON.stringify(await blamed(cluster)))) as Blame
    return new ClusterError(
      `${ranks.message}: all ranks leave, start them again to go on`,
      ranks.ranks,
      error,
    )
  } catch (cause) {
    if (!(cause instanceof TorchError)) throw cause
    const { host, port } = cluster.placing
    return new ClusterError(
      `rank 0, which keeps the store at ${host}:${port}, does not answer: all ranks leave, start them again to go on`,
      [0],
      error,
    )
  }
}

/** A rank that fails by itself tells the others, who need not find out. */
export function tellFailure(error: unknown, cluster: Cluster): void {
  if (error instanceof ClusterError) return
  const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n')
  const blame: Blame = {
    ranks: [cluster.rank],
    message: `rank ${cluster.rank} failed (${line.slice(0, 300)})`,
  }
  try {
    worldStore.claim(failureKey, JSON.stringify(blame))
  } catch {
    // nobody is there to be told
  }
}

/**
 * Keeps the store until the others know why they leave: rank 0 waits for all who can still hear, for some seconds at most.
 */
export async function untilOthersKnow(told: unknown, { rank, size, isFirst }: Cluster): Promise<void> {
  const gone = told instanceof ClusterError ? told.ranks : []
  try {
    worldStore.set(leftKey(rank), '1')
    if (!isFirst) return
    const others = Array.from({ length: size }, (_, each) => each).filter(
      each => each !== rank && !gone.includes(each),
    )
    for (const until = performance.now() + lingering; performance.now() < until; await wait(100))
      if (others.every(each => worldStore.has(leftKey(each)))) return
  } catch {
    // the store is gone already
  }
}

const leftKey = (rank: number): string => `left/${rank}`

/** How long rank 0 waits for others, in milliseconds. */
const lingering = 10_000

interface Blame {
  ranks: number[]
  message: string
}

/** What libtorch throws when a peer closes, or is not heard of in time. */
function isOfOthers(error: unknown): boolean {
  return (
    error instanceof TorchError &&
    /connection (closed|reset|refused)|timed out|broken pipe|socket|gloo|network/i.test(error.message)
  )
}

/** Who is silent: no beat in four intervals; else, of those alive, who computes while others wait, or has done fewer steps. */
async function blamed(cluster: Cluster): Promise<Blame> {
  const ranks = Array.from({ length: cluster.size }, (_, rank) => rank).filter(rank => rank !== cluster.rank)
  const before = ranks.map(read)
  await wait(4 * beatInterval)
  if (worldStore.has(failureKey)) return JSON.parse(worldStore.get(failureKey, 1000)) as Blame
  const now = ranks.map(read)
  const silent = ranks.filter((_, i) => now[i]?.count === before[i]?.count)
  if (silent.length > 0)
    return {
      ranks: silent,
      message: `${ranksInWords(silent)} ${silent.length > 1 ? 'give' : 'gives'} no sign of life`,
    }
  const busy = ranks.filter((_, i) => now[i]?.waiting === '')
  const late = busy.length > 0 ? busy : ranks
  const at = now[ranks.indexOf(late[0] as number)]?.progress
  return {
    ranks: late,
    message: `${ranksInWords(late)} did not answer within ${cluster.timeout / 1000} s${at ? ` (at ${at})` : ''}`,
  }
}

function read(rank: number): Beat {
  const key = beatKey(rank)
  if (!worldStore.has(key)) return { count: '', progress: '', waiting: '' }
  const [count = '', progress = '', waiting = ''] = worldStore.get(key, 1000).split('|')
  return { count, progress, waiting }
}
