// A run folder: recipe.yaml, metrics.jsonl, TensorBoard events, checkpoints/ and run.json.

import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { cpus, hostname } from 'node:os'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { writeDurably } from '../files.ts'
import { runtimeInfo } from '../torch/index.ts'
import { listCheckpoints, removeUnfinished } from './checkpoint/checkpoint.ts'
import { checkRecipe } from './recipe/check.ts'
import type { Recipe } from './recipe/schema.ts'
import { RunLock } from './run-lock.ts'

/** How a run ended, or that it has not. */
export type RunState = 'running' | 'finished' | 'interrupted' | 'failed'

const runSchema = z.looseObject({ bestStep: z.int().nullish() })

/** What a run that was killed at once may leave: nothing worth keeping. */
const leftovers = new Set(['run.lock', 'recipe.yaml', 'checkpoints'])

export class RunFolder {
  readonly path: string
  readonly #lock: RunLock
  #details: Record<string, unknown> = { ...environment(), started: new Date().toISOString() }

  private constructor(path: string, lock: RunLock) {
    this.path = path
    this.#lock = lock
  }

  /**
   * The folder of a new run.
   *
   * @throws ConfigError when it holds a run, or files of someone's: nothing of them is touched
   */
  static create(path: string): RunFolder {
    RunFolder.refuseExisting(path)
    mkdirSync(join(path, 'checkpoints'), { recursive: true })
    return RunFolder.#locked(path)
  }

  /** The folder of an earlier run. Throws ConfigError when there is none, or when it is still being trained. */
  static reopen(path: string): RunFolder {
    readRun(path)
    return RunFolder.#locked(path)
  }

  /** Throws ConfigError when a folder holds anything: a new run would mix with it. */
  static refuseExisting(path: string): void {
    const names = existsSync(path) ? readdirSync(path) : []
    if (names.every(name => leftovers.has(name))) return
    const what = names.includes('run.json') ? 'already holds a run' : 'is not empty'
    throw new ConfigError(`${path} ${what}: choose another folder, or add --resume to go on with its run`, {
      path: '--out',
    })
  }

  static #locked(path: string): RunFolder {
    const run = new RunFolder(path, new RunLock(path))
    removeUnfinished(run.checkpoints)
    return run
  }

  /** The recipe the run was started with. */
  get recipe(): Recipe {
    const file = join(this.path, 'recipe.yaml')
    return checkRecipe(parse(readFileSync(file, 'utf8')), file)
  }

  set recipe(recipe: Recipe) {
    writeDurably(join(this.path, 'recipe.yaml'), stringify(recipe))
  }

  get checkpoints(): string {
    return join(this.path, 'checkpoints')
  }

  get metrics(): string {
    return join(this.path, 'metrics.jsonl')
  }

  /** Rewrites run.json with the state and what else is known by now. */
  report(state: RunState, details: Record<string, unknown> = {}): void {
    this.#details = { ...this.#details, ...details }
    const ended = state === 'running' ? {} : { ended: new Date().toISOString() }
    writeDurably(
      join(this.path, 'run.json'),
      `${JSON.stringify({ state, ...this.#details, ...ended }, null, 2)}\n`,
    )
  }

  /** Lets other processes train here. */
  close(): void {
    this.#lock.release()
  }
}

function environment(): Record<string, unknown> {
  const { version, blas, threads, blasThreads, cuda } = runtimeInfo()
  return {
    pid: process.pid,
    host: hostname(),
    processor: cpus()[0]?.model,
    node: process.version,
    libtorch: { version, blas, threads, blasThreads, cuda },
  }
}

function readRun(path: string): z.infer<typeof runSchema> {
  const file = join(path, 'run.json')
  if (!existsSync(file)) {
    throw new ConfigError(
      `${path} holds no run to resume (run.json is missing): leave --resume out to start one`,
      {
        path: '--resume',
      },
    )
  }
  try {
    return runSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return {} // damaged: what it tells beside the checkpoints is not needed
  }
}

/**
 * The model folder that a path means: of a run folder its best checkpoint, or the newest where none is best; else the
 * path itself.
 */
export function resolveModelFolder(path: string): string {
  if (!existsSync(join(path, 'run.json'))) return path
  const checkpoints = listCheckpoints(join(path, 'checkpoints'))
  const { bestStep } = readRun(path)
  const best = checkpoints.find(folder => Number(/(\d+)$/.exec(folder)?.[1]) === bestStep)
  const found = best ?? checkpoints[0]
  if (!found) throw new ConfigError('this run has no checkpoint yet', { path })
  return found
}
