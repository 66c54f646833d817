// Learns a byte-level BPE vocabulary from text (Sennrich et al., arXiv:1508.07909; over bytes as GPT-2 does).

import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError, DataError } from '../errors.ts'
import { byteLevelTokenizerJson, smallestVocabulary } from './tokenizer-bytes.ts'

/** Merges in the order they were learned. */
export type MergeList = readonly (readonly [string, string])[]

/** The library's trainer always learns 30,000 tokens; fewer are its first ones, more it cannot. */
export const largestVocabulary = 30_000

/**
 * The library trains synchronously and draws progress bars on stdout, so it gets a process of its own. The merges
 * come back in a file.
 */
const trainer = `
const [library, text, result] = process.argv.slice(1)
const { BPE, Tokenizer, byteLevelPreTokenizer } = require(library)
const tokenizer = new Tokenizer(BPE.empty())
tokenizer.setPreTokenizer(byteLevelPreTokenizer(false))
tokenizer.train([text])
tokenizer.save(result)
`

/**
 * Trains on `texts` and returns a Hugging Face tokenizer.json: `<pad>` 0, `<s>` 1, `</s>` 2, the 256 bytes, then
 * merges. The same texts give the same file. Little text may hold fewer merges than `vocabSize` asks for.
 */
export async function trainBpe(
  texts: Iterable<string>,
  { vocabSize, signal }: { vocabSize: number; signal?: AbortSignal | undefined },
): Promise<string> {
  if (!Number.isInteger(vocabSize) || vocabSize <= smallestVocabulary || vocabSize > largestVocabulary) {
    throw new ConfigError(
      `a BPE vocabulary has ${smallestVocabulary + 1} to ${largestVocabulary} tokens, got ${vocabSize}`,
      { path: 'tokenizer' },
    )
  }
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-bpe-'))
  try {
    writeTexts(join(folder, 'text'), texts)
    await runTrainer(join(folder, 'text'), join(folder, 'merges.json'), signal)
    const learned = JSON.parse(readFileSync(join(folder, 'merges.json'), 'utf8')) as {
      model: { merges: MergeList }
    }
    return byteLevelTokenizerJson(learned.model.merges, vocabSize)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function writeTexts(file: string, texts: Iterable<string>): void {
  const descriptor = openSync(file, 'w')
  try {
    for (const text of texts) writeSync(descriptor, `${text}\n`)
  } finally {
    closeSync(descriptor)
  }
}

function runTrainer(text: string, result: string, signal: AbortSignal | undefined): Promise<void> {
  const library = createRequire(import.meta.url).resolve('tokenizers')
  const child = spawn(process.execPath, ['-e', trainer, library, text, result], {
    stdio: ['ignore', 'ignore', 'pipe'],
    signal,
    detached: true, // Ctrl-C in a terminal is for this process alone, which aborts the signal
  })
  let complaint = ''
  child.stderr.on('data', chunk => {
    complaint = (complaint + chunk).slice(-2000)
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, killedBy) => {
      if (code === 0) resolve()
      else reject(new DataError(trainerFailure(killedBy, complaint)))
    })
  })
}

function trainerFailure(signal: NodeJS.Signals | null, complaint: string): string {
  if (signal === 'SIGKILL') return 'training the tokenizer was killed, likely out of memory: use less text'
  const reason = complaint
    .trim()
    .split('\n')
    .findLast(line => line.trim() !== '')
  return `training the tokenizer failed: ${reason ?? `its process ended by ${signal}`}`
}
