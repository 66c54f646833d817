// Values on the command line of `switchyard data`.

import type { TokenizerChoice } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'

const units: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9, ki: 2 ** 10, mi: 2 ** 20, gi: 2 ** 30 }

/** `2MB`, `1.5 GB`, `512KiB` or plain bytes. */
export function parseSize(text: string, option: string): number {
  const [, number, unit = ''] = /^\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*$/i.exec(text) ?? []
  const bytes = Math.floor(Number(number) * units[unit.toLowerCase()]!)
  if (bytes >= 1) return bytes
  throw new ConfigError(`must be a size as 8MB, got '${text}'`, { path: option })
}

export function parseNumber(text: string, option: string): number {
  const number = Number(text)
  if (text.trim() !== '' && Number.isFinite(number)) return number
  throw new ConfigError(`must be a number, got '${text}'`, { path: option })
}

/** `bpe:4096`, `bytes`, or the path of a tokenizer.json. */
export function parseTokenizer(text: string): TokenizerChoice {
  if (text === 'bytes') return { kind: 'bytes' }
  if (!text.startsWith('bpe')) return { kind: 'file', file: text }
  const size = /^bpe:(\d+)$/.exec(text)?.[1]
  if (size !== undefined) return { kind: 'bpe', vocabSize: Number(size) }
  throw new ConfigError(`must be bpe:SIZE as bpe:4096, bytes, or a tokenizer.json, got '${text}'`, {
    path: '--tokenizer',
  })
}
