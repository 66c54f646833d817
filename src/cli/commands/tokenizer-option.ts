// `--tokenizer` of `switchyard data prepare`.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { TokenizerChoice } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'

/** `bpe:4096`, `bytes`, or the path of a tokenizer.json or of the model folder that has one. */
export function parseTokenizer(text: string): TokenizerChoice {
  if (text === 'bytes') return { kind: 'bytes' }
  const beside = join(text, 'tokenizer.json')
  if (existsSync(beside)) return { kind: 'file', file: beside }
  if (existsSync(text)) return { kind: 'file', file: text }
  const size = /^bpe:(\d+)$/.exec(text)?.[1]
  if (size !== undefined) return { kind: 'bpe', vocabSize: Number(size) }
  throw new ConfigError(
    `must be bpe:SIZE as bpe:4096, bytes, or a tokenizer.json or model folder that exists, got '${text}'`,
    {
      path: '--tokenizer',
    },
  )
}
