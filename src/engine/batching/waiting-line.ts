// Who waits for a place, and who is next.

import { BusyError } from '../../errors.ts'

/** Something that waits. */
export interface Waiting {
  readonly key: string
  readonly priority: number
}

/**
 * A bounded line: the highest priority first; among equals those whose key had its turn longest ago, so that many requests of
 * one key do not hold up another's; of one key in order of arrival.
 */
export class WaitingLine<T extends Waiting> {
  readonly #most: number
  readonly #waiting: T[] = []
  /** When each key had its turn, in turns. */
  readonly #turns = new Map<string, number>()
  #turn = 0

  /** @param most that wait at a time */
  constructor(most: number) {
    this.#most = most
  }

  get length(): number {
    return this.#waiting.length
  }

  /** @throws BusyError when as many wait as may */
  add(waiting: T): void {
    if (this.#waiting.length >= this.#most) throw new BusyError(this.#waiting.length)
    this.#waiting.push(waiting)
  }

  get next(): T | undefined {
    const [next] = this.#waiting.toSorted(
      (a, b) => b.priority - a.priority || this.#turnOf(a) - this.#turnOf(b), // stable: by arrival
    )
    return next
  }

  /** Who is next, who then waits no more. */
  take(): T | undefined {
    const { next } = this
    if (next === undefined) return undefined
    this.removeAll(waiting => waiting === next)
    this.#turns.delete(next.key)
    this.#turns.set(next.key, ++this.#turn)
    this.#forget()
    return next
  }

  /** Those who are meant, who then wait no more. */
  removeAll(isMeant: (waiting: T) => boolean): T[] {
    const all = this.#waiting.splice(0)
    this.#waiting.push(...all.filter(waiting => !isMeant(waiting)))
    return all.filter(isMeant)
  }

  #turnOf({ key }: T): number {
    return this.#turns.get(key) ?? 0
  }

  /** Keys come from outside: those that had no turn for longest are taken as new. */
  #forget(): void {
    const [oldest] = this.#turns.keys()
    if (this.#turns.size > knownKeys && oldest !== undefined) this.#turns.delete(oldest)
  }
}

const knownKeys = 4096
