// Files as streams of bytes, unpacked when their name ends in `.gz` or `.zst`.

import { createReadStream, type ReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { Decompress } from 'fzstd'
import { DataError, FormatError } from '../../errors.ts'

/** Text packs to a tenth, logs perhaps to a hundredth. What expands more, and is large, means harm. */
const largestExpansion = 250
const harmless = 64 * 2 ** 20

/** Reads a file, or what a `.gz` or `.zst` file holds, piece by piece. */
export async function* readBytes(file: string): AsyncGenerator<Buffer> {
  const packing = packings.find(({ ending }) => file.endsWith(ending))
  const packed = createReadStream(file)
  if (!packing) {
    yield* packed
    return
  }
  let bytes = 0
  const count = (more: number): void => {
    bytes += more
    if (bytes <= harmless || bytes <= packed.bytesRead * largestExpansion) return
    throw new DataError(`${file}: expands more than ${largestExpansion}-fold: this is no ordinary text`)
  }
  try {
    yield* packing.unpack(packed, count)
  } catch (cause) {
    if (!packing.isDamage(cause as NodeJS.ErrnoException)) throw cause
    throw new FormatError(`is damaged or not ${packing.name} (${(cause as Error).message})`, { file, cause })
  }
}

interface Packing {
  ending: string
  name: string
  /** @param count is told of bytes as they are unpacked, and throws when there are too many */
  unpack(packed: ReadStream, count: (bytes: number) => void): AsyncGenerator<Buffer>
  /** Whether an error is of the bytes, not of the disk. */
  isDamage(error: NodeJS.ErrnoException): boolean
}

const packings: readonly Packing[] = [
  { ending: '.gz', name: 'gzip', unpack: unpackGzip, isDamage: ({ code }) => String(code).startsWith('Z_') },
  { ending: '.zst', name: 'Zstandard', unpack: unpackZstd, isDamage: ({ code }) => typeof code === 'number' },
]

async function* unpackGzip(packed: ReadStream, count: (bytes: number) => void): AsyncGenerator<Buffer> {
  const unpacked = pipeline(packed, createGunzip(), () => {}) // errors arrive in the loop below
  for await (const chunk of unpacked as AsyncIterable<Buffer>) {
    count(chunk.length)
    yield chunk
  }
}

/** Node itself has it from version 22.15 on. */
async function* unpackZstd(packed: ReadStream, count: (bytes: number) => void): AsyncGenerator<Buffer> {
  let ready: Buffer[] = []
  const stream = new Decompress(data => {
    count(data.length)
    ready.push(Buffer.from(data))
  })
  const take = (): Buffer[] => {
    const taken = ready
    ready = []
    return taken
  }
  for await (const chunk of packed as AsyncIterable<Buffer>) {
    stream.push(chunk)
    yield* take()
  }
  stream.push(new Uint8Array(), true)
  yield* take()
}

/** Why a file holds no text, or undefined when it seems to. */
export async function whyNotText(file: string): Promise<string | undefined> {
  for await (const chunk of readBytes(file)) {
    return chunk.subarray(0, 8192).includes(0) ? 'is binary: it holds zero bytes' : undefined
  }
  return 'is empty'
}
