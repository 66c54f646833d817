// What is kept of a model between runs within a budget: how often its experts were used, in the user's cache folder. It is
// small, there is nothing of the text in it, and a run does without when it cannot be read or written.

import { createHash } from 'node:crypto'
import { mkdirSync, realpathSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import type { ExpertStore } from '../engine/index.ts'
import type { ModelSource } from '../models/index.ts'
import { yellow } from './terminal.ts'

/** $XDG_CACHE_HOME/switchyard/experts/HASH.json, by where the model is. */
function fileOf(path: string): string {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  const name = createHash('sha256').update(realpathSync(path)).digest('hex').slice(0, 32)
  return join(cache, 'switchyard', 'experts', `${name}.json`)
}

/** Lets a store go on from what earlier runs have counted. One line on stderr where that is of no use. */
export async function recallUses(source: ModelSource, store: ExpertStore, quiet: boolean): Promise<void> {
  const { identityOf, readUses } = await import('../engine/index.ts')
  const file = fileOf(source.path)
  const { uses, problem } = readUses(file, identityOf(source), store.total)
  if (problem && !quiet) process.stderr.write(`${yellow('note:')} ${file} ${problem}: ignored\n`)
  if (uses) store.recall(uses)
}

/** Keeps what a run has counted, where there is a folder for it. */
export async function keepUses(source: ModelSource, store: ExpertStore): Promise<void> {
  const { identityOf, writeUses } = await import('../engine/index.ts')
  const file = fileOf(source.path)
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeUses(file, identityOf(source), store.uses)
  } catch {
    // The next run begins as this one did.
  }
}
