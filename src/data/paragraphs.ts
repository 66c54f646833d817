// Repeated paragraphs: licence headers, translators' credits, tables of contents. The first of each is kept.

import { createHash } from 'node:crypto'

/** Shorter paragraphs (in bytes) may repeat: a closing brace or a refrain is no boiler-plate. */
const shortest = 100

/** Drops every paragraph that was seen before, in this or an earlier text. */
export class ParagraphFilter {
  readonly #seen = new HashSet()
  /** How many paragraphs were dropped, and their UTF-8 bytes. */
  dropped = { paragraphs: 0, bytes: 0 }

  filter(text: string): string {
    return text
      .split('\n\n')
      .filter(paragraph => this.#isNew(paragraph))
      .join('\n\n')
  }

  #isNew(paragraph: string): boolean {
    const bytes = Buffer.byteLength(paragraph)
    if (bytes < shortest || this.#seen.add(hash(paragraph))) return true
    this.dropped.paragraphs++
    this.dropped.bytes += bytes
    return false
  }
}

/** 48 bits of SHA-1 over the text without regard to case and white space; never 0. */
function hash(paragraph: string): number {
  const normal = paragraph.toLowerCase().replace(/\s+/g, ' ').trim()
  return createHash('sha1').update(normal).digest().readUIntBE(0, 6) + 1
}

/**
 * A set of positive numbers at 16 bytes each: a `Set` takes three times that, and ends at 16 million. Open
 * addressing; 0 marks a free place.
 */
class HashSet {
  #places = new Float64Array(1 << 12)
  #size = 0

  /** Returns false when the number was there already. */
  add(value: number): boolean {
    if (this.#size * 2 >= this.#places.length) this.#grow()
    const place = this.#find(value)
    if (this.#places[place] === value) return false
    this.#places[place] = value
    this.#size++
    return true
  }

  #find(value: number): number {
    let place = value % this.#places.length
    while (this.#places[place] !== 0 && this.#places[place] !== value) {
      place = (place + 1) % this.#places.length
    }
    return place
  }

  #grow(): void {
    const old = this.#places
    this.#places = new Float64Array(old.length * 2)
    for (const value of old) if (value !== 0) this.#places[this.#find(value)] = value
  }
}
