// A folder of fairseq-preprocess (`data-bin`) as a corpus: the ids that it has, with its dictionary as the tokenizer.

import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { ConfigError, DataError } from '../../errors.ts'
import { type LanguagePair, pairName } from '../conversations/parallel.ts'
import { type Corpus, openCorpus } from '../corpus.ts'
import { CorpusFolder } from '../corpus-folder.ts'
import { notCleaned, type SplitName, tokenizerName } from '../corpus-manifest.ts'
import { defaultShardTokens, ShardWriter } from '../corpus-writer.ts'
import { TokenCounter } from '../token-counts.ts'
import { specialFiles } from '../tokenizer-special.ts'
import { readDictionary, wordTokenizerConfig, wordTokenizerJson } from './dictionary.ts'
import { readIndexedDataset } from './indexed-dataset.ts'

/** fairseq's names of the splits. */
const splitNames = { train: 'train', validation: 'valid' } as const

/** Whether a folder is one of fairseq-preprocess. */
export const isDataBin = (folder: string): boolean =>
  existsSync(folder) && readdirSync(folder).some(name => /^dict(\.\w+)?\.txt$/.test(name))

/** The languages of a folder of pairs, by its files; null for one of single texts. */
export function pairOfDataBin(folder: string): LanguagePair | null {
  for (const name of readdirSync(folder)) {
    const [, source, target] = /^train\.(\w+)-(\w+)\.\w+\.idx$/.exec(name) ?? []
    if (source !== undefined && target !== undefined) return { source, target }
  }
  return null
}

/** A text, its symbols as ids of the corpus; of a pair the source, which is not to be learnt. */
interface BinExample {
  source: readonly number[]
  target: readonly number[]
}

/** What is read of a folder, with one vocabulary for all of it. */
interface Bin {
  symbols: readonly string[]
  domain: string
  examples(split: SplitName): Generator<BinExample>
}

export interface PrepareDataBinOptions {
  /** Folder of the corpus; made when missing. */
  out: string
  folder: string
  /** Of a folder of pairs. Default: single texts. */
  pair?: LanguagePair
}

/**
 * Writes a corpus of what fairseq-preprocess has encoded: `valid` is held out, the ids stay. Two dictionaries become one, the target's symbols
 * after the source's.
 *
 * @throws ConfigError for files that are not there, DataError for ids that the dictionary does not have
 */
export async function prepareDataBin({ out, folder, pair }: PrepareDataBinOptions): Promise<Corpus> {
  const bin = pair ? pairsOf(folder, pair) : textsOf(folder)
  using work = new CorpusFolder(out, { force: false })
  writeFileSync(join(work.files, tokenizerName), wordTokenizerJson(bin.symbols))
  writeFileSync(join(work.files, specialFiles[0]), wordTokenizerConfig)
  const vocabSize = bin.symbols.length
  const lengths = bin.symbols.map(symbol => Buffer.byteLength(symbol) + 1) // and the space after it
  const answers = { examples: 0, tokens: 0, together: 1 as const }
  const written = async (split: SplitName) => {
    const writer = new ShardWriter({ folder: work.files, split, vocabSize, shardTokens: defaultShardTokens })
    const counter = new TokenCounter(vocabSize)
    for (const { source, target } of bin.examples(split)) {
      if (target.length === 0) continue
      const ids = [...source, ...target]
      const bytes = ids.reduce((sum, id) => sum + (lengths[id] ?? 0), 0)
      counter.add(ids, bytes)
      const taught = pair && Uint8Array.from(ids, (_, i) => (i < source.length ? 0 : 1))
      await writer.add(ids, 0, bytes, taught)
      answers.examples++
      answers.tokens += target.length
    }
    return { shards: await writer.finish(), counts: counter.counts }
  }
  const [train, validation] = [await written('train'), await written('validation')]
  if (train.shards.length === 0) throw new DataError(`${folder} has no text in its train split`)
  work.install({
    format: 'switchyard-corpus',
    version: 1,
    seed: 0,
    vocabSize,
    domains: [{ name: bin.domain, train: train.counts, validation: validation.counts }],
    shards: { train: train.shards, validation: validation.shards },
    ...(pair && { answers }),
    origins: [{ name: basename(folder) }],
    cleaning: notCleaned,
  })
  return openCorpus(out)
}

function textsOf(folder: string): Bin {
  const dictionary = dictionaryOf(folder, 'dict.txt')
  return {
    symbols: dictionary.symbols,
    domain: 'text',
    *examples(split) {
      for (const target of checkedTexts(join(folder, splitNames[split]), dictionary))
        yield { source: [], target }
    },
  }
}

function pairsOf(folder: string, pair: LanguagePair): Bin {
  const source = dictionaryOf(folder, `dict.${pair.source}.txt`)
  const target = dictionaryOf(folder, `dict.${pair.target}.txt`)
  const symbols = [...new Set([...source.symbols, ...target.symbols])]
  const ids = new Map(symbols.map((symbol, id) => [symbol, id]))
  const renumbered = (texts: readonly number[]): number[] =>
    texts.map(id => ids.get(target.symbols[id] ?? '') ?? 0)
  const place = (split: SplitName, language: string): string =>
    join(folder, `${splitNames[split]}.${pairName(pair)}.${language}`)
  return {
    symbols,
    domain: pairName(pair),
    *examples(split) {
      const targets = checkedTexts(place(split, pair.target), target)
      let count = 0
      for (const text of checkedTexts(place(split, pair.source), source)) {
        const { value, done } = targets.next()
        count++
        if (done) refuseUnequal(place(split, pair.source), place(split, pair.target), count - 1)
        else yield { source: text, target: renumbered(value) }
      }
      if (!targets.next().done) refuseUnequal(place(split, pair.target), place(split, pair.source), count)
    },
  }
}

function refuseUnequal(longer: string, shorter: string, count: number): never {
  throw new DataError(`${longer} has more texts than ${shorter}, which has ${count}: they must be pairs`)
}

interface Dictionary {
  file: string
  symbols: string[]
}

function dictionaryOf(folder: string, name: string): Dictionary {
  const file = join(folder, name)
  if (!existsSync(file))
    throw new ConfigError(
      `is not there: ${folder} must be a folder of fairseq-preprocess, with the languages that it has`,
      {
        path: file,
      },
    )
  return { file, symbols: readDictionary(file) }
}

/** The texts of a data set; none where there is no such split. */
function* checkedTexts(prefix: string, { file, symbols }: Dictionary): Generator<number[]> {
  if (!existsSync(`${prefix}.idx`)) return
  let number = 0
  for (const text of readIndexedDataset(prefix)) {
    number++
    const unknown = text.find(id => id < 0 || id >= symbols.length)
    if (unknown !== undefined)
      throw new DataError(
        `${prefix}.bin has the id ${unknown} in text ${number}, and ${file} ${symbols.length} symbols: they do not belong together`,
      )
    yield text
  }
}
