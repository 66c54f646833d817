// What of a training run's folder models can be opened from: `checkpoints/step-N` are model folders, and run.json knows the
// best of them.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import { ConfigError } from '../../errors.ts'

const runSchema = z.looseObject({ bestStep: z.int().nullish() })

/** Where a checkpoint has the average of the weights, as a model folder of its own. */
export const averageFolder = 'ema'

/** Paths of the checkpoints under `folder`, newest first. */
export function listCheckpoints(folder: string): string[] {
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch {
    return []
  }
  return names
    .filter(name => /^step-\d+$/.test(name))
    .sort((a, b) => stepOf(b) - stepOf(a))
    .map(name => join(folder, name))
}

/** The step that a checkpoint's name says. */
export const stepOf = (path: string): number => Number(/step-(\d+)$/.exec(path)?.[1])

function bestStepOf(run: string): number | null {
  try {
    return runSchema.parse(JSON.parse(readFileSync(join(run, 'run.json'), 'utf8'))).bestStep ?? null
  } catch {
    return null // damaged: the newest checkpoint will do
  }
}

/**
 * The model folder that a path means: of a run folder, or of its `checkpoints`, the best checkpoint, or the newest where
 * none is best, and of that the average of the weights, if it has one, since that is what was evaluated; else the path itself.
 */
export function checkpointOf(path: string): string {
  const run = basename(resolve(path)) === 'checkpoints' ? dirname(resolve(path)) : path
  const checkpoints = listCheckpoints(join(run, 'checkpoints'))
  if (checkpoints.length === 0) {
    if (existsSync(join(run, 'run.json'))) throw new ConfigError('this run has no checkpoint yet', { path })
    return path
  }
  const bestStep = bestStepOf(run)
  const best = (checkpoints.find(folder => stepOf(folder) === bestStep) ?? checkpoints[0]) as string
  const average = join(best, averageFolder)
  return existsSync(average) ? average : best
}

/** What a model is called by whoever has only its place: its run, its download as `org/name`, its folder or file. */
export function modelName(path: string): string {
  const given = resolve(path)
  const isAverage = basename(given) === averageFolder && isCheckpoint(dirname(given))
  const place = isAverage ? dirname(given) : given
  const run = isCheckpoint(place) ? dirname(dirname(place)) : place
  const [, download] = /[/\\]models--([^/\\]+)[/\\]snapshots[/\\][^/\\]+$/.exec(place) ?? []
  return download?.replace('--', '/') ?? basename(run).replace(/\.gguf$/, '')
}

const isCheckpoint = (place: string): boolean =>
  /^step-\d+$/.test(basename(place)) && basename(dirname(place)) === 'checkpoints'
