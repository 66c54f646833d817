// A run folder: recipe.yaml, metrics.jsonl, TensorBoard events, checkpoints/ and run.json.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { cpus, hostname } from 'node:os'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { runtimeInfo } from '../torch/index.ts'
import { listCheckpoints } from './checkpoint/checkpoint.ts'
import { checkRecipe } from './recipe/load.ts'
import type { Recipe } from './recipe/schema.ts'

/** How a run ended, or that it has not. */
export type RunState = 'running' | 'finished' | 'interrupted' | 'failed'

const runSchema = z.looseObject({
  state: z.enum(['running', 'finished', 'interrupted', 'failed']),
  pid: z.int(),
  host: z.string(),
  bestStep: z.int().nullish(),
})

export class RunFolder {
  readonly path: string
  #details: Record<string, unknown> = { ...environment(), started: new Date().toISOString() }

  private constructor(path: string) {
    this.path = path
  }

  /** Throws ConfigError when a folder holds anything: a new run would mix with it. */
  static refuseExisting(path: string): void {
    if (!existsSync(path) || readdirSync(path).length === 0) return
    const what = existsSync(join(path, 'run.json')) ? 'already holds a run' : 'is not empty'
    throw new ConfigError(`${path} ${what}: choose another folder, or add --resume to go on with its run`, {
      path: '--out',
    })
  }

  /** Makes the folder of a run, or takes over that of an earlier one with the same past. */
  static create(path: string, recipe: Recipe): RunFolder {
    mkdirSync(join(path, 'checkpoints'), { recursive: true })
    writeFileSync(join(path, 'recipe.yaml'), stringify(recipe))
    return new RunFolder(path)
  }

  /** The recipe of an earlier run. Throws ConfigError when there is none, or when it is still being trained. */
  static readRecipe(path: string): Recipe {
    const info = readRun(path)
    if (info.state === 'running' && info.host === hostname() && isAlive(info.pid)) {
      throw new ConfigError(`${path} is being trained by process ${info.pid}: wait for it or stop it`, {
        path: '--resume',
      })
    }
    const file = join(path, 'recipe.yaml')
    return checkRecipe(parse(readFileSync(file, 'utf8')), file)
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
    const file = join(this.path, 'run.json')
    writeFileSync(`${file}.tmp`, `${JSON.stringify({ state, ...this.#details, ...ended }, null, 2)}\n`)
    renameSync(`${file}.tmp`, file)
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
  return runSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
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
