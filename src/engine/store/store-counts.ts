// What a store of experts has done.

/** Experts that a layer needed. */
export interface Needed {
  uses: number
  /** Of them, those that were in memory, or on their way. */
  hits: number
}

export class StoreCounts {
  /** Of all layers, by layer. */
  readonly layers: Needed[] = []
  /** Bytes that were read, or are being read. */
  bytes = 0
  /** Of them, those that were read ahead and used by the layer that they were read for. */
  useful = 0
  /** And those that were not. */
  wasted = 0

  /** Of uses, those that a copy of fewer bits stood in for. */
  copied = 0
  /** Experts that tokens chose where they were to choose among those in memory. */
  choices = 0
  /** Of them, those that were not there, and made room for others. */
  replaced = 0

  note(layer: number, { uses, hits }: Needed): void {
    const known = this.layers[layer] ?? { uses: 0, hits: 0 }
    this.layers[layer] = { uses: known.uses + uses, hits: known.hits + hits }
  }

  noteChoices(choices: number, replaced: number): void {
    this.choices += choices
    this.replaced += replaced
  }

  /** @param bytes negative for a read that was given up */
  read(bytes: number): void {
    this.bytes += bytes
  }

  /** Of all layers together. */
  get totals(): Needed & { bytes: number; useful: number; wasted: number } {
    const { uses, hits, bytes, useful, wasted } = this
    return { uses, hits, bytes, useful, wasted }
  }

  get uses(): number {
    return this.layers.reduce((sum, layer) => sum + (layer?.uses ?? 0), 0)
  }

  get hits(): number {
    return this.layers.reduce((sum, layer) => sum + (layer?.hits ?? 0), 0)
  }
}
