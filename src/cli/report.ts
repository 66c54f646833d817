// How failures reach the user: one line on stderr, and an exit code.

import type { Command } from 'commander'
import { ConfigError, SwitchyardError } from '../errors.ts'
import { isOutOfSpace } from '../files.ts'
import { red } from './terminal.ts'

/**
 * Prints an error and returns the exit code: 2 for bad usage or configuration, 1 for anything that failed.
 *
 * @param command what ran, whose options the library's fields are called by
 */
export function reportError(error: unknown, command?: Command): 1 | 2 {
  const failure = error instanceof Error ? error : new Error(String(error))
  process.stderr.write(`${red('error:')} ${describe(failure, command)}\n`)
  if (process.argv.includes('--verbose')) process.stderr.write(`${failure.stack}\n`)
  return failure instanceof ConfigError ? 2 : 1
}

function describe(error: Error, command?: Command): string {
  if (error instanceof ConfigError) return withOption(error, command)
  if (error instanceof SwitchyardError) return error.message
  const { code, path } = error as NodeJS.ErrnoException
  if (isOutOfSpace(error)) return `no room to write (${code}): free some space and run the command again`
  if (code === 'ENOENT' && path) return `${path}: no such file or folder`
  if (code === 'EACCES' && path) return `${path}: permission denied`
  return `${error.message} (run again with --verbose for the stack trace)`
}

/** Options, by the library's fields that they set, where these have other names. */
const otherNames: Readonly<Record<string, string>> = {
  'languages.source': 'sourceLang',
  'languages.target': 'targetLang',
  penalty: 'contrastive',
}

/** A setting by the name that it has on the command line: `out` is `--out`, `set data.path` is `--set data.path`. */
function withOption({ path, problem, message }: ConfigError, command?: Command): string {
  const [field = '', ...rest] = path.split(' ')
  const name = Object.hasOwn(otherNames, field) ? otherNames[field] : field
  const option = command?.options.find(known => known.attributeName() === name)
  return option?.long ? `${[option.long, ...rest].join(' ')}: ${problem}` : message
}
