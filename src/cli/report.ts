// How failures reach the user: one line on stderr, and an exit code.

import { ConfigError, SwitchyardError } from '../errors.ts'
import { red } from './terminal.ts'

/** Prints an error and returns the exit code: 2 for bad usage or configuration, 1 for anything that failed. */
export function reportError(error: unknown): 1 | 2 {
  const failure = error instanceof Error ? error : new Error(String(error))
  process.stderr.write(`${red('error:')} ${describe(failure)}\n`)
  if (process.argv.includes('--verbose')) process.stderr.write(`${failure.stack}\n`)
  return failure instanceof ConfigError ? 2 : 1
}

/** The disk is full, a quota is reached, or the file system allows no file this large. */
const noRoom = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

function describe(error: Error): string {
  if (error instanceof SwitchyardError) return error.message
  const { code, path } = error as NodeJS.ErrnoException
  if (code !== undefined && noRoom.has(code)) {
    return `no room to write (${code}): what was saved before is untouched; free some space and run the command again`
  }
  if (code === 'ENOENT' && path) return `${path}: no such file or folder`
  if (code === 'EACCES' && path) return `${path}: permission denied`
  return `${error.message} (run again with --verbose for the stack trace)`
}
