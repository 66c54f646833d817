// The folder that a corpus is prepared in: a stranger's files stay, an old corpus is replaced at the last moment.

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DataError } from '../errors.ts'
import { type CorpusManifest, manifestName, writeManifest } from './corpus-manifest.ts'

const shardName = /^(train|validation)-\d{5}\.safetensors$/

/** Refuses a folder that holds a corpus already, unless told to replace it. */
export function claimFolder(folder: string, { force }: { force: boolean }): void {
  const stat = statSync(folder, { throwIfNoEntry: false })
  if (stat && !stat.isDirectory()) throw new DataError(`${folder} is a file; give a folder`)
  if (!force && existsSync(join(folder, manifestName))) {
    throw new DataError(`${folder} holds a corpus already: give --force to replace it, or another folder`)
  }
}

/** An empty folder inside, for files that are not ready. What a killed run left there goes. */
export function openWorkFolder(folder: string): string {
  const work = join(folder, '.preparing')
  rmSync(work, { recursive: true, force: true })
  mkdirSync(work, { recursive: true })
  return work
}

/** Moves finished files into place. Until the manifest is there, which is last, the folder is no corpus. */
export function install(work: string, folder: string, manifest: CorpusManifest): void {
  rmSync(join(folder, manifestName), { force: true })
  for (const name of readdirSync(folder)) if (shardName.test(name)) rmSync(join(folder, name))
  for (const name of readdirSync(work)) renameSync(join(work, name), join(folder, name))
  writeManifest(folder, manifest)
}
