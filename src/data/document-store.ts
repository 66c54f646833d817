// Documents on disk while a corpus is prepared: text may be larger than memory, its index is not.

import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import { invariant } from '../errors.ts'

/** What is kept in memory of a stored text. */
export interface StoredDocument {
  domain: string
  /** Length of the text in UTF-8. */
  bytes: number
  offset: number
}

const flushAt = 1 << 20

/** An append-only file of texts. Close it, and remove the file, when done. */
export class DocumentStore {
  readonly #descriptor: number
  #end = 0
  #waiting: Buffer[] = []
  #waitingBytes = 0

  constructor(file: string) {
    this.#descriptor = openSync(file, 'wx+')
  }

  add(text: string, domain: string): StoredDocument {
    const bytes = Buffer.from(text)
    const stored = { domain, bytes: bytes.length, offset: this.#end }
    this.#end += bytes.length
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes >= flushAt) this.#flush()
    return stored
  }

  read({ offset, bytes }: StoredDocument): string {
    this.#flush()
    const buffer = Buffer.alloc(bytes)
    const got = readSync(this.#descriptor, buffer, 0, bytes, offset)
    invariant(got === bytes, `stored text ended early (${got} of ${bytes} bytes)`)
    return buffer.toString('utf8')
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #flush(): void {
    if (this.#waiting.length === 0) return
    const block = Buffer.concat(this.#waiting)
    let position = this.#end - block.length
    for (let done = 0; done < block.length; ) {
      const written = writeSync(this.#descriptor, block, done, block.length - done, position)
      done += written
      position += written
    }
    this.#waiting = []
    this.#waitingBytes = 0
  }
}
