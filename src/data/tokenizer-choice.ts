// Which tokenizer a corpus gets, and the files it leaves there.

import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { tokenizerName } from './corpus-manifest.ts'
import type { Tokenizer } from './tokenizer.ts'
import { withSpecialTokens } from './tokenizer-added.ts'
import { byteLevelTokenizerJson, tokenizerConfigJson } from './tokenizer-bytes.ts'
import { loadTokenizer } from './tokenizer-file.ts'
import { specialFiles } from './tokenizer-special.ts'
import { trainBpe } from './tokenizer-train.ts'

/** Trained on the corpus, none at all, or one that exists. */
export type TokenizerChoice =
  | { kind: 'bpe'; vocabSize: number }
  | { kind: 'bytes' }
  | { kind: 'file'; file: string }

export interface MakeTokenizerOptions {
  /** What one is trained on. */
  texts: Iterable<string>
  /** Special tokens that it is to have beside its own. Default: none. */
  specialTokens?: readonly string[] | undefined
  signal?: AbortSignal | undefined
}

/** Writes tokenizer.json and what belongs beside it into a folder, and opens it. */
export async function makeTokenizer(
  choice: TokenizerChoice,
  folder: string,
  { texts, specialTokens = [], signal }: MakeTokenizerOptions,
): Promise<Tokenizer> {
  const target = join(folder, tokenizerName)
  if (choice.kind === 'file') {
    loadTokenizer(choice.file) // so that an error names the file that was given
    copyFileSync(choice.file, target)
    for (const name of specialFiles) {
      const beside = join(dirname(choice.file), name)
      if (existsSync(beside)) copyFileSync(beside, join(folder, name))
    }
  } else {
    const json =
      choice.kind === 'bpe' ? await trainBpe(texts, { ...choice, signal }) : byteLevelTokenizerJson()
    writeFileSync(target, json)
    writeFileSync(join(folder, specialFiles[0]), tokenizerConfigJson)
  }
  if (specialTokens.length > 0)
    writeFileSync(target, withSpecialTokens(readFileSync(target, 'utf8'), specialTokens))
  return loadTokenizer(target)
}
