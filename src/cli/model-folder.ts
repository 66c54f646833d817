// The model that a path on the command line means.

import { existsSync } from 'node:fs'
import { ConfigError } from '../errors.ts'
import { dim } from './terminal.ts'

/** The model folder or config.json behind a path. Says which checkpoint stands for a run, unless quiet. */
export async function findModel(path: string, { quiet = false }: { quiet?: boolean }): Promise<string> {
  const { resolveModelFolder } = await import('../train/index.ts')
  if (!existsSync(path)) {
    throw new ConfigError('no such file or folder; name a model folder or a run folder', { path })
  }
  const folder = resolveModelFolder(path)
  if (folder !== path && !quiet) process.stderr.write(`${dim(`model: ${folder}`)}\n`)
  return folder
}
