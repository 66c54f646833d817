// Values on the command line: parsers for commander, whose errors name the option.

import type { OnMiss, PrefetchConfig } from '../engine/index.ts'
import { ConfigError } from '../errors.ts'

export interface Range {
  least?: number
  above?: number
  most?: number
}

/** A finite number in a range. */
export function numberOf(option: string, range: Range = {}): (text: string) => number {
  return text => {
    const number = text.trim() === '' ? Number.NaN : Number(text)
    if (Number.isFinite(number) && isIn(number, range)) return number
    throw new ConfigError(`must be a number${describe(range)}, got '${text}'`, { path: option })
  }
}

/** A whole number of at least `minimum`. */
export function wholeNumberOf(option: string, minimum = 0): (text: string) => number {
  return text => {
    const number = numberOf(option)(text)
    if (Number.isSafeInteger(number) && number >= minimum) return number
    throw new ConfigError(`must be a whole number of at least ${minimum}, got '${text}'`, { path: option })
  }
}

/** One of some names. */
export const oneOf =
  <T extends string>(option: string, names: readonly T[]) =>
  (text: string): T => {
    const known = names.find(name => name === text)
    if (known) return known
    throw new ConfigError(`must be one of ${names.join(', ')}, got '${text}'`, { path: option })
  }

const units: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9, ki: 2 ** 10, mi: 2 ** 20, gi: 2 ** 30 }

/** Bytes: `2MB`, `1.5 GB`, `512KiB` or a plain number. */
export function sizeOf(option: string): (text: string) => number {
  return text => {
    const [, number, unit = ''] = /^\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*$/i.exec(text) ?? []
    const bytes = Math.floor(Number(number) * units[unit.toLowerCase()]!)
    if (bytes >= 1) return bytes
    throw new ConfigError(`must be a size as 8MB, got '${text}'`, { path: option })
  }
}

/** A way to read ahead: `router`, `history`, `off`, or `hints:FILE`. */
export function prefetchOf(option: string): (text: string) => PrefetchConfig {
  return text => {
    const [, file] = /^hints:(.+)$/.exec(text) ?? []
    if (file !== undefined) return { kind: 'hints', file }
    if (text === 'router' || text === 'history' || text === 'off') return { kind: text }
    throw new ConfigError(`must be router, history, hints:FILE or off, got '${text}'`, { path: option })
  }
}

const copyTypes = [
  'Q8_0',
  'Q6_K',
  'Q5_K',
  'Q4_K',
  'Q4_0',
  'IQ4_NL',
  'IQ4_XS',
  'MXFP4',
  'Q3_K',
  'Q2_K',
] as const

/** What becomes of experts that are not in memory: `read`, `resident`, or the type of copies. */
export function onMissOf(option: string): (text: string) => OnMiss {
  return text => {
    if (text === 'read' || text === 'resident') return { kind: text }
    const type = copyTypes.find(name => name.toLowerCase() === text.toLowerCase())
    if (type) return { kind: 'copy', type }
    const types = copyTypes.join(', ').toLowerCase()
    throw new ConfigError(`must be read, resident or a type of copies (${types}), got '${text}'`, {
      path: option,
    })
  }
}

/** Shares above 0 and at most 1, as `12.5%,50%`. */
export function sharesOf(option: string): (text: string) => number[] {
  return text =>
    text.split(',').map(part => {
      const [, percent] = /^\s*(\d+(?:\.\d+)?)\s*%\s*$/.exec(part) ?? []
      const share = Number(percent) / 100
      if (share > 0 && share <= 1) return share
      throw new ConfigError(`must be shares above 0% and at most 100%, as 12.5%,50%, got '${text}'`, {
        path: option,
      })
    })
}

function isIn(number: number, { least, above, most }: Range): boolean {
  return number >= (least ?? -Infinity) && number > (above ?? -Infinity) && number <= (most ?? Infinity)
}

function describe({ least, above, most }: Range): string {
  const bounds = [
    least !== undefined && `of at least ${least}`,
    above !== undefined && `above ${above}`,
    most !== undefined && `at most ${most}`,
  ].filter(Boolean)
  return bounds.length > 0 ? ` ${bounds.join(' and ')}` : ''
}
