// A training run from the command line: its options, its folder, what it shows, and how it ends.

import { existsSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { commandLine } from '../command-line.ts'
import { SwitchyardError } from '../errors.ts'
import { isOutOfSpace } from '../files.ts'
import type { Cluster } from '../parallel/index.ts'
import type { Recipe } from '../train/index.ts'
import { type MeshFlags, together, withMeshOptions } from './cluster.ts'
import { Interruption } from './interruption.ts'
import { TrainReporter } from './train-reporter.ts'

export interface TrainFlags extends MeshFlags {
  out?: string
  set: string[]
  resume?: boolean
  json?: boolean
  quiet?: boolean
}

/** What commands that train have in common. */
export function withTrainOptions(command: Command): Command {
  command
    .option('--out <dir>', 'run folder (default: runs/<recipe>-<time>)')
    .option(
      '--set <path=value>',
      'override a setting, as steps=200; may be repeated',
      (value, all: string[]) => [...all, value],
      [],
    )
    .option('--resume', 'go on with the run in --out from its newest checkpoint')
    .option('--json', 'print one JSON object per event')
    .option('--quiet', 'print nothing but notes and the result')
  return withMeshOptions(command)
}

/** Trains a recipe, with all ranks that were started together, and shows it. */
export async function trainShown(recipe: Recipe, flags: TrainFlags, command: Command): Promise<void> {
  await together(flags, command, cluster => trainedBy(cluster, recipe, flags))
}

async function trainedBy(cluster: Cluster | null, recipe: Recipe, flags: TrainFlags): Promise<void> {
  const { train } = await import('../train/index.ts')
  const isFirst = cluster?.isFirst ?? true
  const reporter = new TrainReporter(flags)
  const out = flags.out ?? folderOf(recipe.name, cluster)
  const interruption = new Interruption(() =>
    reporter.note('stopping after this step, with a checkpoint (Ctrl-C again to leave at once)'),
  )
  try {
    const { signal } = interruption
    for await (const event of train(recipe, {
      out,
      cluster,
      resume: isResumed(flags, out, cluster),
      signal,
    })) {
      if (isFirst) reporter.show(event)
      if (event.type === 'end' && event.state === 'interrupted') process.exitCode = interruption.exitCode
    }
  } catch (error) {
    throw withRemedy(error, out)
  } finally {
    reporter.close()
    interruption.release()
    if (flags.out === undefined && isFirst) removeIfEmpty(out)
  }
}

/** Ranks that are started again after one of them failed go on with what there is. */
function isResumed({ resume = false }: TrainFlags, out: string, cluster: Cluster | null): boolean {
  return resume || ((cluster?.placing.restarts ?? 0) > 0 && existsSync(join(out, 'run.json')))
}

/** The folder that rank 0 takes. */
function folderOf(name: string, cluster: Cluster | null): string {
  return cluster ? cluster.agree('out', () => claimFolder(name)) : claimFolder(name)
}

/** Makes a folder that no other run has, even one that starts in the same second. */
function claimFolder(name: string): string {
  const time = new Date().toISOString().slice(0, 19).replaceAll(':', '').replace('T', '-')
  mkdirSync('runs', { recursive: true })
  for (let n = 1; ; n++) {
    const folder = join('runs', `${name}-${time}${n === 1 ? '' : `-${n}`}`)
    try {
      mkdirSync(folder)
      return folder
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

/** Of a run that never began. */
function removeIfEmpty(folder: string): void {
  if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder)
}

/** When the disk is full, what was trained until the last checkpoint is safe. */
function withRemedy(error: unknown, run: string): unknown {
  if (!isOutOfSpace(error)) return error
  const again = existsSync(join(run, 'run.json'))
    ? `go on with '${commandLine()} train --out ${run} --resume'`
    : 'run the command again'
  return new SwitchyardError(`no room to write (${error.code}): free some space and ${again}`, {
    cause: error,
  })
}
