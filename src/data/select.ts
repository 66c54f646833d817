// Which documents a corpus takes, and which of them only measure it.

import { DataError } from '../errors.ts'
import type { StoredDocument } from './document-store.ts'
import { Permutation } from './permutation.ts'

export interface SelectOptions {
  /** Most bytes to take of a domain. */
  size: number
  /** Share of a domain's bytes to hold out; at least one document unless 0. */
  validation: number
  seed: number
}

/** The documents of one domain, in shuffled order. */
export interface Selection {
  train: StoredDocument[]
  validation: StoredDocument[]
}

/** Shuffles a domain's documents, takes what fits into `size`, and holds out the first ones for validation. */
export function selectDocuments(
  documents: readonly StoredDocument[],
  { size, validation, seed }: SelectOptions,
): Selection {
  const taken = fill(shuffle(documents, seed), size)
  const total = sumBytes(taken)
  const domain = documents[0]?.domain ?? ''
  if (taken.length === 0) {
    throw new DataError(`domain '${domain}': no document fits into ${size} bytes; give a larger size`)
  }
  if (validation > 0 && taken.length === 1) {
    throw new DataError(
      `domain '${domain}' has a single document, and validation needs one of its own: give more text, or hold out none`,
    )
  }
  const heldOut = countFor(taken, total * validation)
  return { validation: taken.slice(0, heldOut), train: taken.slice(heldOut) }
}

function shuffle(documents: readonly StoredDocument[], seed: number): StoredDocument[] {
  const order = new Permutation(documents.length, [seed, 1])
  return documents.map((_, position) => documents[order.at(position)]!)
}

function fill(documents: readonly StoredDocument[], size: number): StoredDocument[] {
  let left = size
  return documents.filter(({ bytes }) => {
    if (bytes > left) return false
    left -= bytes
    return true
  })
}

/** How many of the first documents hold `target` bytes; all but one at most, one at least unless 0 are wanted. */
function countFor(documents: readonly StoredDocument[], target: number): number {
  let count = 0
  for (let bytes = 0; bytes < target && count < documents.length - 1; count++) {
    bytes += documents[count]!.bytes
  }
  return count
}

export function sumBytes(documents: readonly StoredDocument[]): number {
  return documents.reduce((sum, { bytes }) => sum + bytes, 0)
}
