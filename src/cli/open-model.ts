// The model that a path on the command line means.

import type { OpenedModel } from '../models/index.ts'
import { dim } from './terminal.ts'

/**
 * Opens the model behind a path, or behind the name of one that was downloaded (`org/name`). Says which checkpoint or
 * snapshot stands for it, unless quiet.
 */
export async function openNamed(path: string, { quiet = false }: { quiet?: boolean }): Promise<OpenedModel> {
  const { openModel } = await import('../models/index.ts')
  const opened = openModel(path)
  if (opened.path !== path && !quiet) process.stderr.write(`${dim(`model: ${opened.path}`)}\n`)
  return opened
}
