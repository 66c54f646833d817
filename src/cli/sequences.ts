// Text as a model reads it, sequence by sequence: windows of a corpus, or of a file.

import { readFileSync } from 'node:fs'
import { ConfigError } from '../errors.ts'
import type { DecoderConfig, OpenedModel } from '../models/index.ts'
import { defaultLength, splitFor, type WindowFlags, windowLength } from './corpus-windows.ts'

export interface Sequences {
  /** How many there are. */
  count: number
  /** The token ids of some of them. */
  read(numbers: readonly number[]): number[][]
}

/** Which text, and how much of it at once. */
export interface TextFlags extends Omit<WindowFlags, 'data'> {
  data?: string
  text?: string
  batches?: number
  batchSize: number
}

/** The text that is named: of a corpus, or of a file. */
export function textSequences(opened: OpenedModel, flags: TextFlags): Promise<Sequences> {
  if (flags.text !== undefined) return fileSequences(opened, flags.text, flags)
  if (flags.data !== undefined) return corpusSequences(opened, { ...flags, data: flags.data })
  throw new ConfigError('is missing: name a corpus, or a file with --text', { path: '--data' })
}

/** The numbers of the sequences of each batch, spread evenly over all that there are. */
export async function chooseBatches(
  { count }: Sequences,
  { batches = Infinity, batchSize }: Pick<TextFlags, 'batches' | 'batchSize'>,
): Promise<number[][]> {
  const { evenlySpaced } = await import('../train/index.ts')
  const chosen = evenlySpaced(count, batches * batchSize)
  return Array.from({ length: Math.ceil(chosen.length / batchSize) }, (_, i) =>
    chosen.slice(i * batchSize, (i + 1) * batchSize),
  )
}

export function* readBatches(sequences: Sequences, batches: readonly number[][]): Generator<number[][]> {
  for (const batch of batches) yield sequences.read(batch)
}

/** The windows of a split. */
export async function corpusSequences(opened: OpenedModel, flags: WindowFlags): Promise<Sequences> {
  const { openCorpus } = await import('../data/index.ts')
  const { TokenWindows } = await import('../train/index.ts')
  const split = splitFor(opened, openCorpus(flags.data), flags)
  const windows = new TokenWindows(split, windowLength(flags, decoderConfig(opened), split))
  return {
    count: windows.count,
    read(numbers) {
      const { inputs } = windows.batch(numbers)
      const ids = Array.from(inputs.toTypedArray<'i64'>(), Number)
      inputs.dispose()
      return numbers.map((_, row) =>
        ids.slice(row * windows.sequenceLength, (row + 1) * windows.sequenceLength),
      )
    },
  }
}

/** A file's text, cut into sequences as long as the model reads at once. */
export async function fileSequences(
  opened: OpenedModel,
  file: string,
  { sequenceLength }: Pick<WindowFlags, 'sequenceLength'>,
): Promise<Sequences> {
  const { vocab_size, max_position_embeddings: positions } = decoderConfig(opened)
  const length = sequenceLength ?? Math.min(defaultLength, positions)
  if (length > positions)
    throw new ConfigError(`${length} exceeds the model's ${positions} positions`, {
      path: '--sequence-length',
    })
  const ids = await opened.tokenizer.encode(readText(file), { addSpecialTokens: true, specials: 'text' })
  if (ids.length === 0) throw new ConfigError(`${file} holds no text`, { path: '--text' })
  const strange = ids.find(id => id >= vocab_size)
  if (strange !== undefined)
    throw new ConfigError(`${file} has token ${strange}, but the model knows only ${vocab_size}`, {
      path: '--text',
    })
  return {
    count: Math.ceil(ids.length / length),
    read: numbers => numbers.map(number => ids.slice(number * length, (number + 1) * length)),
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ConfigError(`${file} cannot be read (${(cause as NodeJS.ErrnoException).code})`, {
      path: '--text',
      cause,
    })
  }
}

/** What every decoder's config has; that it is one is checked when it is loaded. */
const decoderConfig = ({ config }: OpenedModel): DecoderConfig => config as DecoderConfig
