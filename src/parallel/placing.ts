// Which rank this process is, by what started it: torchrun, Slurm, mpirun, an indexed Job of Kubernetes, or `switchyard launch`.

import { ConfigError } from '../errors.ts'

export interface Placing {
  rank: number
  size: number
  /** Among the ranks of this machine. */
  localRank: number
  localSize: number
  /** Where ranks meet. */
  host: string
  port: number
  /** Whether somebody else keeps the store there, as torchrun's agent does. */
  isServed: boolean
  /** Of all tries of a job. */
  runId: string
  /** How often it was started again. */
  restarts: number
}

type Environment = Readonly<Record<string, string | undefined>>

/** What a starter calls the numbers. */
interface Names {
  rank: string
  size: string
  localRank?: string
  localSize?: string
}

/** In the order in which they are looked for: what is nearest to the process is set last. */
const starters = {
  torchrun: {
    rank: 'RANK',
    size: 'WORLD_SIZE',
    localRank: 'LOCAL_RANK',
    localSize: 'LOCAL_WORLD_SIZE',
  },
  'Open MPI': {
    rank: 'OMPI_COMM_WORLD_RANK',
    size: 'OMPI_COMM_WORLD_SIZE',
    localRank: 'OMPI_COMM_WORLD_LOCAL_RANK',
    localSize: 'OMPI_COMM_WORLD_LOCAL_SIZE',
  },
  MPICH: { rank: 'PMI_RANK', size: 'PMI_SIZE', localRank: 'MPI_LOCALRANKID', localSize: 'MPI_LOCALNRANKS' },
  Slurm: {
    rank: 'SLURM_PROCID',
    size: 'SLURM_STEP_NUM_TASKS',
    localRank: 'SLURM_LOCALID',
    localSize: 'SLURM_STEP_TASKS_PER_NODE',
  },
  Kubernetes: { rank: 'JOB_COMPLETION_INDEX', size: 'WORLD_SIZE' },
} as const satisfies Record<string, Names>

/**
 * The place that the environment gives this process; null when it gives none, and for a world of one.
 *
 * @throws ConfigError for numbers that cannot be, and where nothing says where ranks meet
 */
export function placingOf(environment: Environment): Placing | null {
  const names: Names | undefined = Object.values(starters).find(
    ({ rank, size }) => environment[rank] !== undefined && environment[size] !== undefined,
  )
  if (!names) return null
  const read = (name: string | undefined, fallback: number): number => numberOf(environment, name, fallback)
  const [rank, size] = [read(names.rank, 0), read(names.size, 1)]
  if (size < 1 || rank >= size)
    throw new ConfigError(`is ${rank}, but ranks are below ${names.size}=${size}`, { path: names.rank })
  if (size === 1) return null
  return {
    rank,
    size,
    localRank: read(names.localRank, rank),
    localSize: read(names.localSize, size),
    ...meetingOf(environment),
    isServed: environment.TORCHELASTIC_USE_AGENT_STORE === 'True',
    runId: environment.TORCHELASTIC_RUN_ID ?? environment.SLURM_JOB_ID ?? 'run',
    restarts: read('TORCHELASTIC_RESTART_COUNT', 0),
  }
}

function meetingOf(environment: Environment): Pick<Placing, 'host' | 'port'> {
  const { MASTER_ADDR: host } = environment
  if (!host)
    throw new ConfigError('is not set: it is the machine of rank 0, where ranks meet', {
      path: 'MASTER_ADDR',
    })
  const port = numberOf(environment, 'MASTER_PORT', 29500)
  if (port < 1 || port > 65535) throw new ConfigError(`is no port: ${port}`, { path: 'MASTER_PORT' })
  return { host, port }
}

/** Slurm writes `2(x3)` for two tasks on each of three nodes: the first number is this node's, or as good. */
function numberOf(environment: Environment, name: string | undefined, fallback: number): number {
  const text = name && environment[name]
  if (!name || !text) return fallback
  const [, digits] = /^(\d{1,9})(?:\(x\d+\))?(?:,.*)?$/.exec(text) ?? []
  if (digits === undefined) throw new ConfigError(`is no number: '${text}'`, { path: name })
  return Number(digits)
}
