// A shuffle that takes no memory: a keyed permutation of 0..size-1, computed one index at a time.

const rounds = 6

/**
 * A Feistel network over the smallest even number of bits that holds `size`, walked until it lands inside (cycle
 * walking: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). Not for secrets.
 */
export class Permutation {
  readonly size: number
  readonly #half: number
  readonly #keys: number[]

  /** `key` is any list of integers; another key gives another order. */
  constructor(size: number, key: readonly number[]) {
    this.size = size
    // At least 4 bits a side: narrower networks reach few of the permutations.
    this.#half = 2 ** Math.max(4, Math.ceil(Math.log2(Math.max(size, 2)) / 2))
    const seed = hashOf(key)
    this.#keys = Array.from({ length: rounds }, (_, round) => mix(seed + Math.imul(round, 0x9e3779b9)))
  }

  /** Which index stands at `position`. */
  at(position: number): number {
    let index = this.#scramble(position)
    while (index >= this.size) index = this.#scramble(index)
    return index
  }

  #scramble(index: number): number {
    const half = this.#half
    let left = Math.floor(index / half)
    let right = index % half
    for (const key of this.#keys) {
      const next = (left + (mix(right ^ key) >>> 0)) % half
      left = right
      right = next
    }
    return left * half + right
  }
}

/** A number in [0, 1) that a list of integers decides: another list gives one that has nothing to do with it. */
export const uniformAt = (key: readonly number[]): number => (hashOf(key) >>> 0) / 2 ** 32

const hashOf = (key: readonly number[]): number =>
  key.reduce((hash, part) => mix(mix(hash ^ part) ^ Math.floor(part / 2 ** 32)), 0x9e3779b9)

/** The finaliser of MurmurHash3: every bit of the result depends on every bit of the argument. */
function mix(value: number): number {
  let hash = value | 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
