// Numbers between bounds, as choices of digits.

import { choice, literal, repeated, sequence } from './rules.ts'

/** Integers are exact, and read back as they were written, up to here. */
const largest = 10 ** 15 - 1

/** Bounds as schemas have them. */
export interface Bounds {
  minimum?: number
  exclusiveMinimum?: number
  maximum?: number
  exclusiveMaximum?: number
}

const none = Number.POSITIVE_INFINITY

/** The integers within bounds; null when there is none. */
export function integersWithin({
  minimum,
  exclusiveMinimum,
  maximum,
  exclusiveMaximum,
}: Bounds): string | null {
  const least = Math.max(Math.ceil(minimum ?? -none), Math.floor(exclusiveMinimum ?? -none) + 1, -largest)
  const most = Math.min(Math.floor(maximum ?? none), Math.ceil(exclusiveMaximum ?? none) - 1, largest)
  if (least > most) return null
  const parts: string[] = []
  if (least < 0) parts.push(sequence('"-"', naturals(Math.max(1, -most), -least)))
  if (most >= 0) parts.push(naturals(Math.max(least, 0), most))
  return choice(...parts)
}

/**
 * Integers within bounds, and what lies between any two neighbours that are; null when there is nothing. Bounds that are
 * no integers are rounded inwards.
 */
export function numbersWithin(bounds: Bounds): string | null {
  const { minimum, exclusiveMinimum, maximum, exclusiveMaximum } = bounds
  const least = Math.max(Math.ceil(minimum ?? -none), Math.ceil(exclusiveMinimum ?? -none), -largest)
  const most = Math.min(Math.floor(maximum ?? none), Math.floor(exclusiveMaximum ?? none), largest)
  const parts: string[] = []
  const whole = integersWithin(bounds)
  if (whole !== null) parts.push(whole)
  if (most > Math.max(least, 0)) parts.push(...fractions(Math.max(least, 0), most - 1))
  if (least < Math.min(most, 0))
    parts.push(...fractions(Math.max(0, -most), -least - 1).map(part => sequence('"-"', part)))
  return parts.length > 0 ? choice(...parts) : null
}

/** Natural numbers from `low` to `high`, without leading zeros. */
const naturals = (low: number, high: number): string =>
  choice(...spans(low, high).map(({ start, end }) => digits(start, end)))

/** What is above natural numbers and below the next ones. With 15 digits in all, none reads back as one of these. */
function fractions(low: number, high: number): string[] {
  return spans(low, high)
    .filter(({ start }) => start.length < 15)
    .map(({ start, end }) =>
      sequence(digits(start, end), '"."', repeated('[0-9]', 0, 14 - start.length), '[1-9]'),
    )
}

/** Natural numbers by how many digits they have. */
function spans(low: number, high: number): { start: string; end: string }[] {
  const all: { start: string; end: string }[] = []
  for (let start = low; start <= high; ) {
    const end = Math.min(high, 10 ** `${start}`.length - 1)
    all.push({ start: `${start}`, end: `${end}` })
    start = end + 1
  }
  return all
}

/** Numbers of equally many digits, from one to the other. */
function digits(low: string, high: string): string {
  if (low === high) return literal(low)
  if (/^0*$/.test(low) && /^9*$/.test(high)) return repeated('[0-9]', low.length, low.length)
  const [first, last] = [Number(low[0]), Number(high[0])]
  const [rest, most] = [low.slice(1), high.slice(1)]
  const [zeros, nines] = ['0'.repeat(rest.length), '9'.repeat(rest.length)]
  if (first === last) return sequence(literal(`${first}`), digits(rest, most))
  const parts: string[] = []
  const isFromZero = rest === zeros
  const isToNines = most === nines
  if (!isFromZero) parts.push(sequence(literal(`${first}`), digits(rest, nines)))
  const [from, to] = [isFromZero ? first : first + 1, isToNines ? last : last - 1]
  if (from <= to) parts.push(sequence(`[${from}-${to}]`, digits(zeros, nines)))
  if (!isToNines) parts.push(sequence(literal(`${last}`), digits(zeros, most)))
  return choice(...parts)
}
