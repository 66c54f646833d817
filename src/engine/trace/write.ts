// Writing a recording as it is made: beside the file, and in its place once it is whole.

import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { invariant } from '../../errors.ts'
import { flush } from '../../files.ts'
import { emptySlot } from './choices.ts'
import {
  checkSource,
  encodeHeader,
  headerRoom,
  recordBytes,
  type TraceHeader,
  type TraceSource,
  version,
} from './header.ts'

/** What is written at once. */
const blockBytes = 1 << 20

/** One token's record. */
export interface TokenRecord {
  id: number
  /** Where it is in its text; 0 begins one. */
  position: number
  /** Of each MoE layer, the experts chosen; a negative number is an empty slot. */
  experts: readonly ArrayLike<number>[]
  /** What each counts. */
  weights: readonly ArrayLike<number>[]
}

/**
 * Writes a recording token by token. Nothing is under its name before `finish()`; a recording that is disposed without
 * it leaves nothing.
 */
export class TraceWriter {
  readonly file: string
  readonly #temporary: string
  readonly #source: TraceSource
  readonly #room: number
  readonly #block: Buffer
  readonly #recordBytes: number
  #descriptor: number | null
  #filled = 0
  #tokens = 0
  #texts = 0

  /** @throws ConfigError for a source that no reader would accept */
  constructor(file: string, source: TraceSource) {
    checkSource(source)
    this.file = file
    this.#source = source
    this.#room = headerRoom(source)
    this.#recordBytes = recordBytes(source)
    this.#block = Buffer.alloc(Math.max(1, Math.floor(blockBytes / this.#recordBytes)) * this.#recordBytes)
    const header = encodeHeader(this.#header(), this.#room)
    this.#temporary = `${file}.tmp-${process.pid}`
    this.#descriptor = openSync(this.#temporary, 'w')
    this.#attempt(() => this.#write(header))
  }

  get tokens(): number {
    return this.#tokens
  }

  add({ id, position, experts, weights }: TokenRecord): void {
    invariant(experts.length === this.#source.moeLayers.length, 'a record has all MoE layers')
    const start = this.#filled
    this.#block.writeUInt32LE(id, start)
    this.#block.writeUInt32LE(position, start + 4)
    let at = start + 8
    for (const [layer, chosen] of experts.entries()) at = this.#addLayer(chosen, weights[layer] ?? [], at)
    this.#filled = at
    this.#tokens += 1
    if (position === 0) this.#texts += 1
    if (this.#filled === this.#block.length) this.#flush()
  }

  /** Completes the header, sends all to the disk and gives the file its name. */
  finish(): TraceHeader {
    this.#flush()
    const header = this.#header()
    this.#attempt(descriptor => {
      writeAll(descriptor, encodeHeader(header, this.#room), 0)
      this.#close()
      flush(this.#temporary)
      renameSync(this.#temporary, this.file)
      flush(dirname(this.file))
    })
    return header
  }

  /** Gives up what is not finished. */
  dispose(): void {
    if (this.#descriptor === null) return
    this.#close()
    rmSync(this.#temporary, { force: true })
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #header(): TraceHeader {
    return { version, ...this.#source, tokens: this.#tokens, texts: this.#texts }
  }

  /** Experts, then weights; slots that the layer does not have are empty. */
  #addLayer(experts: ArrayLike<number>, weights: ArrayLike<number>, start: number): number {
    const { topK } = this.#source
    invariant(experts.length <= topK, 'a record has room for all slots')
    for (let k = 0; k < topK; k++) {
      const expert = experts[k] ?? -1
      this.#block.writeUInt16LE(expert < 0 ? emptySlot : expert, start + 2 * k)
      this.#block.writeFloatLE(expert < 0 ? 0 : (weights[k] ?? 0), start + 2 * topK + 4 * k)
    }
    return start + 6 * topK
  }

  #flush(): void {
    this.#attempt(() => this.#write(this.#block.subarray(0, this.#filled)))
    this.#filled = 0
  }

  #write(bytes: Uint8Array): void {
    invariant(this.#descriptor !== null, 'the recording is open')
    writeAll(this.#descriptor, bytes, null)
  }

  #close(): void {
    if (this.#descriptor !== null) closeSync(this.#descriptor)
    this.#descriptor = null
  }

  /** A failure, as of a full disk, leaves nothing behind. */
  #attempt(write: (descriptor: number) => void): void {
    try {
      invariant(this.#descriptor !== null, 'the recording is open')
      write(this.#descriptor)
    } catch (error) {
      this.#close()
      rmSync(this.#temporary, { force: true })
      throw error
    }
  }
}

/** @param position in the file; null: after what was written last */
function writeAll(descriptor: number, bytes: Uint8Array, position: number | null): void {
  for (let done = 0; done < bytes.length; ) {
    const at = position === null ? null : position + done
    done += writeSync(descriptor, bytes, done, bytes.length - done, at)
  }
}
