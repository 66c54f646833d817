// One recipe trained with several settings, under several seeds each, one run after another.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { parse } from 'yaml'
import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { writeDurably } from '../files.ts'
import { TrainingDiverged } from './diverged.ts'
import type { TrainEvent } from './events.ts'
import type { Recipe } from './recipe/schema.ts'
import { train } from './train.ts'

/** A setting, and what it is to be. */
export interface GridAxis {
  /** As `optimizer.learningRate`. */
  path: string
  values: readonly unknown[]
}

/** An axis as `path=v1,v2`, the values as items of a YAML list. @throws ConfigError for anything else */
export function gridAxis(text: string): GridAxis {
  const [, path, list] = /^([\w.]+)=(.+)$/s.exec(text) ?? []
  try {
    const values: unknown = parse(`[${list}]`)
    if (path !== undefined && Array.isArray(values)) return { path, values }
  } catch {} // said below
  throw new ConfigError(`'${text}' is not PATH=VALUE,VALUE, as in optimizer.learningRate=1e-3,3e-3`, {
    path: 'grid',
  })
}

export interface SweepRun {
  /** Of its folder; says settings and seed. */
  name: string
  settings: Record<string, unknown>
  seed: number
  recipe: Recipe
}

export interface SweepOptions {
  /** The recipe with overrides as loadRecipe() takes them. */
  recipeOf: (overrides: readonly string[]) => Recipe
  grid: readonly GridAxis[]
  /** Runs of each combination, under the recipe's seed and those after it. */
  seeds: number
}

/**
 * The runs of a sweep: all combinations, each under every seed. All recipes are checked.
 *
 * @throws ConfigError for a recipe that cannot be, and for an axis that is given twice or is the seed
 */
export function sweepRuns({ recipeOf, grid, seeds }: SweepOptions): SweepRun[] {
  const paths = grid.map(({ path }) => path)
  const twice = paths.find((path, i) => paths.indexOf(path) !== i)
  if (twice) throw new ConfigError(`${twice} is there twice: give all its values at once`, { path: 'grid' })
  if (paths.includes('seed')) throw new ConfigError('seed is counted on: use --seeds', { path: 'grid' })
  const runs = combinations(grid).flatMap(settings => {
    const overrides = Object.entries(settings).map(([path, value]) => `${path}=${JSON.stringify(value)}`)
    const { seed } = recipeOf(overrides)
    return Array.from({ length: seeds }, (_, i) => ({
      name: nameOf(settings, seed + i),
      settings,
      seed: seed + i,
      recipe: recipeOf([...overrides, `seed=${seed + i}`]),
    }))
  })
  const same = runs.find(({ name }, i) => runs.findIndex(other => other.name === name) !== i)
  if (same)
    throw new ConfigError(`two runs would both be '${same.name}': values differ too little`, { path: 'grid' })
  return runs
}

function combinations(grid: readonly GridAxis[]): Record<string, unknown>[] {
  return grid.reduce<Record<string, unknown>[]>(
    (all, { path, values }) => all.flatMap(settings => values.map(value => ({ ...settings, [path]: value }))),
    [{}],
  )
}

/** A value as people read it. */
export const shownValue = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value)

function nameOf(settings: Readonly<Record<string, unknown>>, seed: number): string {
  const parts = [...Object.entries(settings), ['seed', seed] as const]
  return parts.map(([path, value]) => `${path}=${shownValue(value)}`.replaceAll(/[^\w.=+-]+/g, '_')).join(',')
}

/** How a run ended. */
export interface SweepResult {
  /** The best validation loss; null where there is none: training diverged, or the corpus holds nothing out. */
  loss: number | null
  /** The step of that loss. */
  step: number | null
  diverged: boolean
}

const resultSchema = z.strictObject({
  recipe: z.unknown(),
  loss: z.number().nullable(),
  step: z.int().nullable(),
  diverged: z.boolean(),
})

/** What sweep() tells of, each with the run it is of: events of training, and results. */
export type SweepEvent = { run: SweepRun } & (
  | { type: 'training'; event: TrainEvent }
  | { type: 'result'; result: SweepResult }
)

/**
 * Trains runs in turn, each in a folder of its name under `out`. One that is finished there is not trained again, and one that was
 * interrupted goes on; when `signal` aborts, the run of the moment ends with a checkpoint, and the sweep with it.
 *
 * @throws ConfigError when a folder holds the result of another recipe
 */
export async function* sweep(
  runs: readonly SweepRun[],
  { out, signal }: { out: string; signal?: AbortSignal },
): AsyncGenerator<SweepEvent> {
  const known = runs.map(run => readResult(join(out, run.name), run.recipe)) // all refusals come first
  for (const [i, run] of runs.entries()) {
    const result = known[i] ?? (yield* trained(run, join(out, run.name), signal))
    if (result === null) return
    yield { type: 'result', run, result }
  }
}

/** Null when it was interrupted. */
async function* trained(
  run: SweepRun,
  folder: string,
  signal?: AbortSignal,
): AsyncGenerator<SweepEvent, SweepResult | null> {
  if (signal?.aborted) return null
  const resume = existsSync(join(folder, 'run.json'))
  let result: SweepResult | null = null
  try {
    for await (const event of train(run.recipe, { out: folder, resume, ...(signal && { signal }) })) {
      yield { type: 'training', run, event }
      if (event.type !== 'end' || event.state !== 'finished') continue
      result = { loss: event.best?.loss ?? null, step: event.best?.step ?? null, diverged: false }
    }
  } catch (error) {
    if (!(error instanceof TrainingDiverged)) throw error
    result = { loss: null, step: null, diverged: true }
  }
  if (result)
    writeDurably(join(folder, resultFile), `${JSON.stringify({ ...result, recipe: run.recipe }, null, 2)}\n`)
  return result
}

const resultFile = 'sweep-result.json'

/** Null when there is none, or when a damaged one has to be found again. */
function readResult(folder: string, recipe: Recipe): SweepResult | null {
  const file = join(folder, resultFile)
  if (!existsSync(file)) return null
  let saved: z.infer<typeof resultSchema>
  try {
    saved = resultSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return null
  }
  const { recipe: past, ...result } = saved
  if (isDeepStrictEqual(past, JSON.parse(JSON.stringify(recipe)))) return result
  throw new ConfigError(`${folder} is the result of another recipe: choose another folder, or remove it`, {
    path: 'out',
  })
}

/** The results of one combination. */
export interface SweepSummary {
  settings: Record<string, unknown>
  runs: (SweepResult & { name: string; seed: number })[]
  /** Over the runs that have a loss; null when none has. */
  mean: number | null
  /** Standard deviation over these, for a sample; null of fewer than two. */
  deviation: number | null
}

/** Combinations, the best mean first, those without one last. */
export function summarized(results: readonly { run: SweepRun; result: SweepResult }[]): SweepSummary[] {
  const keyOf = ({ run }: { run: SweepRun }): string => JSON.stringify(run.settings)
  const rank = ({ mean }: SweepSummary): number => mean ?? Number.POSITIVE_INFINITY
  return [...new Set(results.map(keyOf))]
    .map(key => summaryOf(results.filter(each => keyOf(each) === key)))
    .sort((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0))
}

function summaryOf(group: readonly { run: SweepRun; result: SweepResult }[]): SweepSummary {
  const losses = group.flatMap(({ result }) => result.loss ?? [])
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length
  const squares = losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0)
  return {
    settings: group[0]?.run.settings ?? {},
    runs: group.map(({ run: { name, seed }, result }) => ({ name, seed, ...result })),
    mean: losses.length > 0 ? mean : null,
    deviation: losses.length > 1 ? Math.sqrt(squares / (losses.length - 1)) : null,
  }
}
