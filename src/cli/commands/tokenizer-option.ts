// `--tokenizer` of `switchyard data prepare`.

import type { TokenizerChoice } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'

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
