// API keys of a server: from a file, or from the environment, never from the command line, which others see.

import { readFileSync } from 'node:fs'
import { ConfigError } from '../errors.ts'

/** A key is short enough for a header and long enough not to be guessed. */
const [shortest, longest] = [8, 512]

/** @throws ConfigError for a file that cannot be read or has none, and for keys that cannot be sent */
export function apiKeysOf(file: string | undefined, environment = process.env.SWITCHYARD_API_KEYS): string[] {
  const named = keysIn(environment ?? '', /,/)
  requireKeys(named, 'SWITCHYARD_API_KEYS')
  if (file === undefined) return named
  const filed = fileKeys(file)
  requireKeys(filed, '--api-key-file')
  return [...named, ...filed]
}

function requireKeys(keys: readonly string[], path: string): void {
  const wrong = keys.findIndex(
    key => !/^[\x21-\x7e]+$/.test(key) || key.length < shortest || key.length > longest,
  )
  if (wrong < 0) return
  throw new ConfigError(
    `the ${wrong + 1}. key must be ${shortest} to ${longest} printable characters without spaces`,
    { path },
  )
}

const keysIn = (text: string, separator: RegExp): string[] =>
  text
    .split(separator)
    .map(key => key.trim())
    .filter(key => key !== '' && !key.startsWith('#'))

function fileKeys(file: string): string[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ConfigError(`${file} cannot be read (${(cause as NodeJS.ErrnoException).code})`, {
      ...{ path: '--api-key-file', cause },
    })
  }
  const keys = keysIn(text, /\r?\n/)
  if (keys.length === 0) throw new ConfigError(`${file} has no keys`, { path: '--api-key-file' })
  return keys
}
