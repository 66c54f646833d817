// The tokenizer of a model, wherever the model is.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { loadTokenizer, type Tokenizer } from '../data/index.ts'
import { isGgufFile } from './gguf/open.ts'
import { ggufTokenizer } from './gguf/read-tokenizer.ts'

/** The tokenizer of a model folder or GGUF file. A tokenizer.json beside a GGUF file goes before its metadata. */
export function loadModelTokenizer(path: string): Tokenizer {
  if (!isGgufFile(path)) return loadTokenizer(join(path, 'tokenizer.json'))
  const beside = join(path, '..', 'tokenizer.json')
  return existsSync(beside) ? loadTokenizer(beside) : ggufTokenizer(path)
}
