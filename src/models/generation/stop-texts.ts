// Texts that end a generation, which may arrive in pieces.

/** Holds back the end of a text as long as it may begin a stop text. */
export class StopTexts {
  readonly #stops: readonly string[]
  #held = ''
  /** The stop text that appeared. */
  found: string | null = null

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter(text => text !== '')
  }

  /** Takes text and returns what can be shown. */
  push(text: string): string {
    if (this.found !== null) return ''
    const all = this.#held + text
    const places = this.#stops.map(stop => ({ stop, at: all.indexOf(stop) })).filter(({ at }) => at >= 0)
    const [first] = places.toSorted((a, b) => a.at - b.at)
    if (first) {
      this.found = first.stop
      this.#held = ''
      return all.slice(0, first.at)
    }
    const kept = Math.max(0, ...this.#stops.map(stop => overlap(all, stop)))
    this.#held = all.slice(all.length - kept)
    return all.slice(0, all.length - kept)
  }

  /** What was held back, once no more text comes. */
  flush(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length
  }
  return 0
}
