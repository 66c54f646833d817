// The values of flags, read as what they are to be.

import { ConfigError } from '../../errors.ts'
import { type ArchitectureSizes, architectureNamed } from './architectures.ts'
import type { FairseqCommand, FairseqFlag } from './flags.ts'

/** Values by flag. */
export class Flags {
  readonly #values: ReadonlyMap<FairseqFlag, string>
  /** Of the architecture. */
  readonly sizes: ArchitectureSizes

  constructor({ values }: FairseqCommand) {
    this.#values = values
    this.sizes = architectureNamed(values.get('arch') ?? '').sizes
  }

  has(name: FairseqFlag): boolean {
    return this.#values.has(name)
  }

  text(name: FairseqFlag): string | undefined {
    return this.#values.get(name)
  }

  /** A number, or the only one of a list as `4` or `[4]`. */
  number(name: FairseqFlag): number | undefined {
    const text = this.#values.get(name)
    if (text === undefined) return undefined
    const number = text.trim() === '' ? Number.NaN : Number(text.replace(/^\[(.*)\]$/, '$1'))
    if (Number.isFinite(number)) return number
    throw new ConfigError(`must be a number, got '${text}'`, { path: `--${name}` })
  }

  /** A number above 0; others are fairseq's words for none. */
  above0(name: FairseqFlag): number | undefined {
    const number = this.number(name)
    return number !== undefined && number > 0 ? number : undefined
  }

  /** One of some words. */
  word<T extends string>(name: FairseqFlag, words: readonly T[]): T | undefined {
    const text = this.#values.get(name)
    const word = words.find(known => known === text)
    if (text === undefined || word !== undefined) return word
    throw new ConfigError(`must be one of ${words.join(', ')}, got '${text}'`, { path: `--${name}` })
  }
}
