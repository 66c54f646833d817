// Files that are there whole or not at all, also after a power cut.

import { createHash } from 'node:crypto'
import { closeSync, createReadStream, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { FormatError } from './errors.ts'

/** A descriptor to read a file of some format by. @throws FormatError when it cannot be opened */
export function openToRead(file: string): number {
  try {
    return openSync(file, 'r')
  } catch (cause) {
    throw new FormatError(`cannot be opened (${(cause as NodeJS.ErrnoException).code})`, { file, cause })
  }
}

/** Writes beside the file, flushes, and renames into place: a failure leaves the old file as it was. */
export function writeDurably(file: string, content: string | Uint8Array): void {
  replaceDurably(file, temporary => writeFileSync(temporary, content))
}

/** As writeDurably(), with the writing left to `write`, which gets the path to write to. */
export function replaceDurably<T>(file: string, write: (temporary: string) => T): T {
  const temporary = `${file}.tmp-${process.pid}`
  try {
    const result = write(temporary)
    flush(temporary)
    renameSync(temporary, file)
    flush(dirname(file))
    return result
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** Sends a file's or folder's content to the disk. */
export function flush(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** SHA-256 of a file's content, in hexadecimal. */
export async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

/** The disk is full, a quota is reached, or the file system allows no file this large. */
const noRoom = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

export function isOutOfSpace(error: unknown): error is NodeJS.ErrnoException {
  return noRoom.has((error as NodeJS.ErrnoException | null)?.code ?? '')
}
