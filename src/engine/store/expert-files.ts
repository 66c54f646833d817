// Files of which single experts are read, by the reader's own threads.

import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { FormatError } from '../../errors.ts'
import type { ByteRange, ExpertRows } from '../../models/index.ts'
import { cancelRead, finishRead, hasRead, hurryRead, startRead, type Tensor } from '../../torch/index.ts'

/** How soon a read is wanted, the most urgent first: needed now, guessed to be needed, of use at some time. */
export const urgencies = ['needed', 'guess', 'spare'] as const
export type Urgency = (typeof urgencies)[number]

/** A read that was begun. */
export interface PendingRead {
  /** Waits for it. Throws FormatError when the file could not be read. */
  finish(): void
  /** It is needed from now on. */
  hurry(): void
  /** Gives it up, if it waits still for others; it is not to be finished then. */
  cancel(): boolean
  /** Whether finish() would not wait. */
  hasEnded(): boolean
}

/** The matrix of one expert. */
export interface ExpertPlace {
  rows: ExpertRows
  expert: number
}

/** How files are read: through the system's page cache, which may keep what was read; or past it. */
export type ReadMode = 'cached' | 'direct'

interface OpenFile {
  descriptor: number
  size: number
  modified: number
}

export class ExpertFiles implements Disposable {
  readonly #mode: ReadMode
  readonly #files = new Map<string, OpenFile>()

  constructor(mode: ReadMode = 'cached') {
    this.#mode = mode
  }

  /** Opens files before anything is read of them, so that what is changed from then on is noticed. */
  open(files: Iterable<string>): void {
    for (const file of files) this.#open(file)
  }

  /**
   * Begins to read the matrix of an expert.
   *
   * @param to u8 [rows, bytes of a row]
   * @param encoding of rows as they are to be in memory
   * @param urgency the less urgent waits for all that is more so
   * @throws FormatError when a file has changed since it was first read
   */
  start(to: Tensor, encoding: string, { rows, expert }: ExpertPlace, urgency: Urgency): PendingRead {
    const ranges = rows.rangesOf(expert)
    const descriptors = ranges.map(({ file }) => this.#open(file).descriptor)
    const offsets = ranges.map(({ offset }) => offset)
    const lengths = ranges.map(({ length }) => length)
    const packing = rows.isApart ? rows.encoding : ''
    const ticket = startRead(
      ...([to, encoding, packing, rows.isAlternating, descriptors, offsets, lengths] as const),
      urgencies.indexOf(urgency),
    )
    return {
      finish: () => naming(ranges, () => finishRead(ticket)),
      hurry: () => hurryRead(ticket),
      cancel: () => cancelRead(ticket),
      hasEnded: () => hasRead(ticket),
    }
  }

  #open(file: string): OpenFile {
    const known = this.#files.get(file)
    if (known) {
      refuseChange(file, known)
      return known
    }
    const descriptor = openFile(file, this.#mode)
    const { size, mtimeMs } = fstatSync(descriptor)
    const opened = { descriptor, size, modified: mtimeMs }
    this.#files.set(file, opened)
    return opened
  }

  [Symbol.dispose](): void {
    for (const { descriptor } of this.#files.values()) closeSync(descriptor)
    this.#files.clear()
  }
}

function openFile(file: string, mode: ReadMode): number {
  const direct = mode === 'direct' ? (constants.O_DIRECT ?? 0) : 0
  try {
    return openSync(file, constants.O_RDONLY | direct)
  } catch (error) {
    const hint = mode === 'direct' ? '; its file system may know no reads past the page cache' : ''
    throw new FormatError(`cannot be opened for its experts: ${(error as Error).message}${hint}`, { file })
  }
}

/** A file that is written while a model runs from it would give another model's experts. */
function refuseChange(file: string, { descriptor, size, modified }: OpenFile): void {
  const now = fstatSync(descriptor)
  if (now.size === size && now.mtimeMs === modified) return
  throw new FormatError('was changed while the model runs from it; start again', { file })
}

function naming(ranges: readonly ByteRange[], read: () => void): void {
  try {
    read()
  } catch (error) {
    const file = ranges[0]?.file ?? ''
    const why = (error as Error).message.replace(/^switchyard::\w+\(\d*\): /, '')
    throw new FormatError(`an expert cannot be read: ${why}`, { file })
  }
}
