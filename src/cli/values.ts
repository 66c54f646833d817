// Values on the command line.

import { ConfigError } from '../errors.ts'

/** A parser for commander: a finite number, or an error that names the option. */
export function numberOf(option: string): (text: string) => number {
  return text => {
    const number = Number(text)
    if (text.trim() !== '' && Number.isFinite(number)) return number
    throw new ConfigError(`must be a number, got '${text}'`, { path: option })
  }
}

/** A parser for commander: a whole number of at least `minimum`. */
export function wholeNumberOf(option: string, minimum = 0): (text: string) => number {
  return text => {
    const number = numberOf(option)(text)
    if (Number.isInteger(number) && number >= minimum) return number
    throw new ConfigError(`must be a whole number of at least ${minimum}, got '${text}'`, { path: option })
  }
}
