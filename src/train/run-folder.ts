// A run folder: recipe.yaml, metrics.jsonl, TensorBoard events, checkpoints/ and run.json.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { cpus, hostname } from 'node:os'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { ConfigError } from '../errors.ts'
import { writeDurably } from '../files.ts'
import { FolderLock } from '../folder-lock.ts'
import { gemmChoice, runtimeInfo } from '../torch/index.ts'
import { removeUnfinished } from './checkpoint/checkpoint.ts'
import { checkRecipe } from './recipe/check.ts'
import type { Recipe } from './recipe/schema.ts'

/** How a run ended, or that it has not. */
export type RunState = 'running' | 'finished' | 'interrupted' | 'failed'

/** What a run that was killed at once may leave: nothing worth keeping. */
const isLeftover = (name: string): boolean => /^(recipe\.yaml|checkpoints|run\.lock(\.\d+)?)$/.test(name)

/** What training asks of where it is written down. */
export interface Run {
  readonly path: string
  readonly checkpoints: string
  /** The recipe the run was started with. */
  recipe: Recipe
  /** Notes the state, and what else is known by now. */
  report(state: RunState, details?: Record<string, unknown>): void
  /** Removes all of it. */
  remove(): void
  /** Lets other processes train here. */
  close(): void
}

/** The recipe of a run folder. */
export function readRecipe(path: string): Recipe {
  const file = join(path, 'recipe.yaml')
  return checkRecipe(parse(readFileSync(file, 'utf8')), file)
}

export class RunFolder implements Run {
  readonly path: string
  readonly #lock: FolderLock
  #details: Record<string, unknown> = { started: new Date().toISOString() }

  private constructor(path: string, lock: FolderLock) {
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
    RunFolder.refuseMissing(path)
    return RunFolder.#locked(path)
  }

  /** Throws ConfigError when a folder holds no run. */
  static refuseMissing(path: string): void {
    if (existsSync(join(path, 'run.json'))) return
    const problem = existsSync(path) ? 'holds no run to resume (run.json is missing)' : 'does not exist'
    throw new ConfigError(`${path} ${problem}: leave it out to start a run`, { path: 'resume' })
  }

  /** Throws ConfigError when a folder holds anything: a new run would mix with it. */
  static refuseExisting(path: string): void {
    const names = existsSync(path) ? readdirSync(path) : []
    if (names.every(isLeftover)) return
    const problem = names.includes('run.json')
      ? 'already holds a run: choose another folder, or resume it'
      : 'is not empty: choose another folder'
    throw new ConfigError(`${path} ${problem}`, { path: 'out' })
  }

  static #locked(path: string): RunFolder {
    const run = new RunFolder(path, new FolderLock(path, { name: 'run.lock', work: 'is being trained' }))
    removeUnfinished(run.checkpoints)
    return run
  }

  /** The recipe the run was started with. */
  get recipe(): Recipe {
    return readRecipe(this.path)
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
      `${JSON.stringify({ state, ...environment(), ...this.#details, ...ended }, null, 2)}\n`,
    )
  }

  /** Removes all of it. */
  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
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
    libtorch: { version, blas, threads, blasThreads, cuda, gemm: gemmChoice() },
  }
}
