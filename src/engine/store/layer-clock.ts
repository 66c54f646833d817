// Time as policies of caches know it: MoE layers that have run.

export class LayerClock {
  readonly #layers: number
  #now = 0
  #last = -1

  /** @param layers MoE layers of the model */
  constructor(layers: number) {
    this.#layers = layers
  }

  get now(): number {
    return this.#now
  }

  /** A layer runs; those between the last one and it were skipped. See CachePolicy. */
  advance(layer: number): number {
    this.#now += layer > this.#last ? layer - this.#last : this.#layers - this.#last + layer
    this.#last = layer
    return this.#now
  }
}
