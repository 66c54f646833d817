// Files by lines.

import { FormatError } from '../../errors.ts'
import { readBytes } from './byte-stream.ts'

/** Longest line in bytes: far more than any document, far less than memory. */
const longestLine = 64 * 2 ** 20

/** The lines of a file, without their ends and without a byte order mark. */
export async function* readLines(file: string): AsyncGenerator<string> {
  let pending: Buffer[] = []
  let pendingBytes = 0
  for await (const chunk of readBytes(file)) {
    let start = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      yield textOf([...pending, chunk.subarray(start, end)])
      pending = []
      pendingBytes = 0
      start = end + 1
    }
    pending.push(chunk.subarray(start))
    pendingBytes += chunk.length - start
    if (pendingBytes > longestLine) {
      throw new FormatError(`has a line of more than ${longestLine / 2 ** 20} MiB: it is not text by lines`, {
        file,
      })
    }
  }
  if (pendingBytes > 0) yield textOf(pending)
}

const textOf = (parts: readonly Buffer[]): string =>
  Buffer.concat(parts)
    .toString('utf8')
    .replace(/^\ufeff/, '')
