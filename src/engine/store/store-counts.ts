// What a store of experts has done.

/** Experts that a layer needed. */
export interface Needed {
  uses: number
  /** Of them, those that were in memory. */
  hits: number
}

export class StoreCounts {
  /** Of all layers, by layer. */
  readonly layers: Needed[] = []
  /** Bytes that were read. */
  bytes = 0

  note(layer: number, { uses, hits }: Needed): void {
    const known = this.layers[layer] ?? { uses: 0, hits: 0 }
    this.layers[layer] = { uses: known.uses + uses, hits: known.hits + hits }
  }

  read(bytes: number): void {
    this.bytes += bytes
  }

  /** Of all layers together. */
  get totals(): Needed & { bytes: number } {
    return { uses: this.uses, hits: this.hits, bytes: this.bytes }
  }

  get uses(): number {
    return this.layers.reduce((sum, layer) => sum + (layer?.uses ?? 0), 0)
  }

  get hits(): number {
    return this.layers.reduce((sum, layer) => sum + (layer?.hits ?? 0), 0)
  }
}
