// Reading a recording. Files are hostile: sizes are checked against the file before memory is taken, and experts against
// the header before they are believed.

import { closeSync, fstatSync, readSync, statSync } from 'node:fs'
import { FormatError } from '../../errors.ts'
import { openToRead } from '../../files.ts'
import { emptySlot, type RoutingChoices } from './choices.ts'
import { magic, maxHeaderBytes, parseHeader, prefixBytes, recordBytes, type TraceHeader } from './header.ts'

/** Tokens of a recording that follow each other. */
export interface TraceBlock {
  ids: Uint32Array // [T]
  positions: Uint32Array // [T]
  /** `[T, L, K]`; emptySlot where there is no expert. */
  chosen: Uint16Array
  /** `[T, L, K]` */
  weights: Float32Array
}

/** What is read at once. */
const blockBytes = 1 << 20

/** Choices that are held in memory at once: a million tokens of 8 layers with 8 experts each. */
const maxChoices = 2 ** 26

/** An open recording, whose header and size have been checked. */
export class TraceReader {
  readonly file: string
  readonly header: TraceHeader
  readonly #descriptor: number
  readonly #start: number

  /** @throws FormatError for a file that is no recording, or not a whole one */
  constructor(file: string) {
    this.file = file
    this.#descriptor = openToRead(file)
    try {
      const fileBytes = fstatSync(this.#descriptor).size
      const text = readHeaderText(this.#descriptor, file, fileBytes)
      this.header = parseHeader(text, file)
      this.#start = prefixBytes + Buffer.byteLength(text)
      refuseOtherSize(this.header, fileBytes - this.#start, file)
    } catch (error) {
      closeSync(this.#descriptor)
      throw error
    }
  }

  /** All tokens in order, in blocks of about a megabyte. */
  *blocks(): Generator<TraceBlock> {
    const { header, file } = this
    const size = recordBytes(header)
    const perBlock = Math.max(1, Math.floor(blockBytes / size))
    let before = -1
    for (let first = 0; first < header.tokens; first += perBlock) {
      const count = Math.min(perBlock, header.tokens - first)
      const bytes = Buffer.alloc(count * size)
      readAll(this.#descriptor, bytes, this.#start + first * size, file)
      const block = decode(bytes, count, header)
      refuseImpossible(block, header, { file, first, before })
      before = block.positions.at(-1) as number
      yield block
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor)
  }
}

/**
 * Which experts every token of a recording chose, in memory.
 *
 * @throws FormatError for a damaged file, or more than 2^26 choices
 */
export function readChoices(file: string): { header: TraceHeader; choices: RoutingChoices } {
  using trace = new TraceReader(file)
  const { header } = trace
  const { tokens, experts, topK } = header
  const layers = header.moeLayers.length
  if (tokens * layers * topK > maxChoices)
    throw new FormatError(
      `${tokens} tokens of ${layers} layers are more than fit into memory; record fewer with --batches`,
      { file },
    )
  const [ids, positions] = [new Uint32Array(tokens), new Uint32Array(tokens)]
  const chosen = new Uint16Array(tokens * layers * topK)
  let done = 0
  for (const block of trace.blocks()) {
    ids.set(block.ids, done)
    positions.set(block.positions, done)
    chosen.set(block.chosen, done * layers * topK)
    done += block.positions.length
  }
  return { header, choices: { layers, experts, topK, ids, positions, chosen } }
}

/** Whether a file begins as a recording does. */
export function isTrace(file: string): boolean {
  if (!statSync(file).isFile()) return false
  const descriptor = openToRead(file)
  try {
    const start = Buffer.alloc(magic.length)
    return readSync(descriptor, start, 0, start.length, 0) === start.length && start.equals(magic)
  } finally {
    closeSync(descriptor)
  }
}

function readHeaderText(descriptor: number, file: string, fileBytes: number): string {
  const foreign = `is no recording of routing; make one with 'switchyard routing trace'`
  if (fileBytes < prefixBytes) throw new FormatError(`has ${fileBytes} bytes and ${foreign}`, { file })
  const prefix = Buffer.alloc(prefixBytes)
  readAll(descriptor, prefix, 0, file)
  if (!prefix.subarray(0, magic.length).equals(magic)) throw new FormatError(foreign, { file })
  const length = prefix.readUInt32LE(magic.length)
  if (length > Math.min(maxHeaderBytes, fileBytes - prefixBytes))
    throw new FormatError(
      `header says it is ${length} bytes long, but the file has ${fileBytes}: it is damaged; record it again`,
      { file },
    )
  const header = Buffer.alloc(length)
  readAll(descriptor, header, prefixBytes, file)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header)
  } catch (cause) {
    throw new FormatError('header is not UTF-8: the file is damaged; record it again', { file, cause })
  }
}

function refuseOtherSize(header: TraceHeader, bytes: number, file: string): void {
  const wanted = header.tokens * recordBytes(header)
  if (bytes === wanted) return
  const problem = bytes < wanted ? 'it is truncated' : 'it is damaged'
  throw new FormatError(
    `${header.tokens} tokens take ${wanted} bytes, but ${bytes} follow the header: ${problem}; record it again`,
    { file },
  )
}

function readAll(descriptor: number, bytes: Buffer, position: number, file: string): void {
  for (let done = 0; done < bytes.length; ) {
    const got = readSync(descriptor, bytes, done, bytes.length - done, position + done)
    if (got === 0) throw new FormatError('became shorter while it was read; read it again', { file })
    done += got
  }
}

function decode(bytes: Buffer, count: number, header: TraceHeader): TraceBlock {
  const { topK } = header
  const layers = header.moeLayers.length
  const [ids, positions] = [new Uint32Array(count), new Uint32Array(count)]
  const chosen = new Uint16Array(count * layers * topK)
  const weights = new Float32Array(chosen.length)
  let at = 0
  for (let t = 0; t < count; t++) {
    ids[t] = bytes.readUInt32LE(at)
    positions[t] = bytes.readUInt32LE(at + 4)
    at += 8
    for (let slot = t * layers * topK; slot < (t + 1) * layers * topK; slot += topK) {
      for (let k = 0; k < topK; k++, at += 2) chosen[slot + k] = bytes.readUInt16LE(at)
      for (let k = 0; k < topK; k++, at += 4) weights[slot + k] = bytes.readFloatLE(at)
    }
  }
  return { ids, positions, chosen, weights }
}

interface BlockPlace {
  file: string
  /** Number of the block's first token. */
  first: number
  /** Position of the token before it. */
  before: number
}

function refuseImpossible(
  { positions, chosen }: TraceBlock,
  { experts, moeLayers, topK }: TraceHeader,
  { file, first, before }: BlockPlace,
): void {
  const refuse = (token: number, problem: string): never => {
    throw new FormatError(`token ${first + token} ${problem}: the file is damaged; record it again`, { file })
  }
  const tokenOf = (slot: number): number => Math.floor(slot / (moeLayers.length * topK))
  for (const [t, position] of positions.entries()) {
    const expected = (t === 0 ? before : (positions[t - 1] as number)) + 1
    if (position !== 0 && position !== expected)
      refuse(t, `is at position ${position} of its text, after ${expected - 1}`)
  }
  for (const [slot, expert] of chosen.entries())
    if (expert >= experts && expert !== emptySlot)
      refuse(tokenOf(slot), `chose expert ${expert} of ${experts}`)
}
