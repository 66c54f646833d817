// The model that a path on the command line means.

import { existsSync } from 'node:fs'
import { ConfigError } from '../errors.ts'
import { dim } from './terminal.ts'

/**
 * The model folder, GGUF file or config.json behind a path, or behind the name of a model that was downloaded (`org/name`).
 * Says which checkpoint or snapshot stands for it, unless quiet.
 */
export async function findModel(path: string, { quiet = false }: { quiet?: boolean }): Promise<string> {
  const { resolveModelFolder } = await import('../train/index.ts')
  const downloaded = existsSync(path) ? undefined : await snapshotOf(path)
  if (!existsSync(path) && !downloaded) {
    throw new ConfigError(
      'no such file or folder, nor a model that was downloaded; name a model folder, a run folder or a .gguf file',
      { path },
    )
  }
  const folder = downloaded ?? resolveModelFolder(path)
  if (folder !== path && !quiet) process.stderr.write(`${dim(`model: ${folder}`)}\n`)
  return folder
}

async function snapshotOf(name: string): Promise<string | undefined> {
  const { cachedSnapshot } = await import('../models/index.ts')
  return cachedSnapshot(name)
}
