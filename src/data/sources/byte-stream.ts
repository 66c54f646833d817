// Files as streams of bytes, unpacked when their name ends in `.gz`.

import { createReadStream } from 'node:fs'
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { DataError, FormatError } from '../../errors.ts'

/** Text packs to a tenth, logs perhaps to a hundredth. What expands more, and is large, means harm. */
const largestExpansion = 250
const harmless = 64 * 2 ** 20

/** Reads a file, or what a `.gz` file holds, piece by piece. */
export async function* readBytes(file: string): AsyncGenerator<Buffer> {
  if (!file.endsWith('.gz')) {
    yield* createReadStream(file)
    return
  }
  const packed = createReadStream(file)
  const unpacked: Readable = pipeline(packed, createGunzip(), () => {}) // errors arrive in the loop below
  let bytes = 0
  try {
    for await (const chunk of unpacked as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > harmless && bytes > packed.bytesRead * largestExpansion) {
        throw new DataError(`${file}: expands more than ${largestExpansion}-fold: this is no ordinary text`)
      }
      yield chunk
    }
  } catch (cause) {
    if (!(cause as NodeJS.ErrnoException).code?.startsWith('Z_')) throw cause
    throw new FormatError(`is damaged or not gzip (${(cause as Error).message})`, { file, cause })
  }
}

/** Why a file holds no text, or undefined when it seems to. */
export async function whyNotText(file: string): Promise<string | undefined> {
  for await (const chunk of readBytes(file)) {
    return chunk.subarray(0, 8192).includes(0) ? 'is binary: it holds zero bytes' : undefined
  }
  return 'is empty'
}
