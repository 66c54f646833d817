// Parts of a text between the engine, which makes them, and whoever reads them at a pace of its own.

import type { TextPart } from './request.ts'
import type { TextListener } from './running-text.ts'

/** A text has as many parts as tokens, so that what waits here is bounded. */
export class PartQueue implements TextListener {
  readonly #parts: TextPart[] = []
  #error: { cause: unknown } | null = null
  #wake: () => void = () => undefined

  onPart(part: TextPart): void {
    this.#parts.push(part)
    this.#wake()
  }

  onError(cause: unknown): void {
    this.#error = { cause }
    this.#wake()
  }

  /**
   * All parts up to the last; throws what the engine ended with.
   *
   * @param cancel ends the text: asked for by the signal, and when nobody reads on. Of a text that has ended it does nothing
   */
  async *read(signal: AbortSignal | undefined, cancel: () => void): AsyncGenerator<TextPart, void> {
    if (signal?.aborted) cancel()
    signal?.addEventListener('abort', cancel)
    try {
      yield* this.#untilTheLast()
    } finally {
      signal?.removeEventListener('abort', cancel)
      cancel()
    }
  }

  async *#untilTheLast(): AsyncGenerator<TextPart, void> {
    for (;;) {
      const part = this.#parts.shift()
      if (part) {
        yield part
        if (part.end) return
      } else if (this.#error) throw this.#error.cause
      else
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
    }
  }
}
