// Regular expressions of schemas, as the text of a JSON string: without what would need an escape there.

import { ConfigError } from '../../errors.ts'
import { plainCharacter } from './json-rules.ts'
import { choice, codePoint, literal, repeated, sequence } from './rules.ts'

/** What `\d` and its like stand for, in a class. */
const classes: Record<string, string> = { d: '0-9', w: '0-9A-Za-z_', s: ' ' }

/** Longest pattern. */
const longestPattern = 1000

/** Most places in a string that are told apart. */
const mostStates = 5000

/** Groups within groups: xgrammar fails where brackets are nested deeper than about 130, and a group makes up to three. */
const deepestGroup = 16

export interface PatternRule {
  rule: string
  /** Places in a string that the rule tells apart, counted by how many characters may stand there: 1 for any. */
  states: number
}

/**
 * A string that matches a pattern from its first character to its last, whether the pattern is anchored or not.
 *
 * @param path where it stands
 * @throws ConfigError for what has no such form: lookaround, references, word boundaries, classes of what is not in them,
 * repetitions within repetitions
 */
export function patternRule(pattern: string, path: string): PatternRule {
  const reader = new PatternReader(pattern.replace(/^\^/, '').replace(/(?<!\\)\$$/, ''), path)
  if (pattern.length > longestPattern) reader.refuse(`more than ${longestPattern} characters`)
  const rule = reader.alternatives()
  if (!reader.isOver) reader.refuse('an unmatched )')
  return { rule: sequence('"\\""', rule, '"\\""'), states: reader.states }
}

class PatternReader {
  readonly #text: string
  readonly #path: string
  #at = 0
  #states = 0
  #depth = 0
  /** Repetitions without a bound. */
  #endless = 0

  constructor(text: string, path: string) {
    this.#text = text
    this.#path = path
  }

  get states(): number {
    return this.#states
  }

  get isOver(): boolean {
    return this.#at >= this.#text.length
  }

  refuse(what: string): never {
    throw new ConfigError(`has ${what}, which cannot be enforced`, { path: this.#path })
  }

  alternatives(): string {
    const parts = [this.#sequence()]
    while (this.#takes('|')) parts.push(this.#sequence())
    return choice(...parts)
  }

  #sequence(): string {
    const parts: string[] = []
    while (!this.isOver && !/^[|)]/.test(this.#rest)) {
      const before = { states: this.#states, endless: this.#endless }
      parts.push(this.#quantified(this.#atom(), before))
    }
    return sequence(...parts)
  }

  get #rest(): string {
    return this.#text.slice(this.#at)
  }

  #takes(text: string): boolean {
    if (!this.#rest.startsWith(text)) return false
    this.#at += text.length
    return true
  }

  #next(): string {
    const character = String.fromCodePoint(this.#text.codePointAt(this.#at) ?? 0)
    this.#at += character.length
    return character
  }

  #atom(): string {
    if (this.#takes('(')) return this.#group()
    const isAny = this.#takes('.')
    this.#states += isAny ? 1 : 1 / 8
    if (isAny) return plainCharacter
    if (this.#takes('[')) return this.#class()
    if (this.#takes('\\')) return this.#escape()
    const character = this.#next()
    if (/[*+?{}^$\]]/.test(character)) this.refuse(`a ${character} where it has no meaning`)
    return literal(this.#plain(character))
  }

  #group(): string {
    if (this.#rest.startsWith('?') && !this.#takes('?:')) this.refuse('a group with (?')
    if (++this.#depth > deepestGroup) this.refuse(`groups nested deeper than ${deepestGroup}`)
    const rule = this.alternatives()
    if (!this.#takes(')')) this.refuse('an unmatched (')
    this.#depth--
    return `(${rule})`
  }

  #escape(): string {
    const letter = this.#next()
    const set = classes[letter]
    return set === undefined ? literal(this.#plain(this.#escaped(letter))) : `[${set}]`
  }

  /** A character that a backslash leaves as it is. */
  #escaped(letter: string): string {
    if (/[A-Za-z0-9]/.test(letter)) this.refuse(`\\${letter}`)
    return letter
  }

  #class(): string {
    if (this.#rest.startsWith('^')) this.refuse('[^')
    let members = ''
    while (!this.#takes(']')) {
      if (this.isOver) this.refuse('an unmatched [')
      members += this.#member()
    }
    return members === '' ? this.refuse('an empty class') : `[${members}]`
  }

  #member(): string {
    const isEscaped = this.#takes('\\')
    const first = this.#next()
    const set = isEscaped ? classes[first] : undefined
    if (set !== undefined) return set
    const low = this.#ascii(isEscaped ? this.#escaped(first) : first)
    if (!/^-[^\]]/.test(this.#rest)) return inClass(low)
    this.#at++
    const high = this.#ascii(this.#takes('\\') ? this.#escaped(this.#next()) : this.#next())
    if (low > high || /["\\]/.test(between(low, high))) this.refuse(`a range from ${low} to ${high}`)
    return `${inClass(low)}-${inClass(high)}`
  }

  #quantified(atom: string, before: { states: number; endless: number }): string {
    const [text, sign = '', least, comma, most] = /^([*+?]|\{(\d+)(,?)(\d*)\})\??/.exec(this.#rest) ?? []
    if (text === undefined) return atom
    this.#at += text.length
    // A text that such a pattern can be found in, in many ways, takes a time that grows with all of them.
    if (sign !== '?' && this.#endless > before.endless) this.refuse('a repetition within a repetition')
    if (/^[*+]|,\}$/.test(sign)) this.#endless++
    if (least === undefined) return `(${atom})${sign}`
    const end = comma === '' ? Number(least) : most === '' ? Number.POSITIVE_INFINITY : Number(most)
    if (end < Number(least)) this.refuse(sign)
    const times = Number.isFinite(end) ? end : Number(least) + 1
    this.#states = before.states + (this.#states - before.states) * times
    if (this.#states > mostStates) this.refuse(`${sign}, which is too often`)
    return repeated(atom, Number(least), end)
  }

  #ascii(character: string): string {
    return character > '~' ? this.refuse(`${character} in a class`) : this.#plain(character)
  }

  /** A character that JSON writes as it is. */
  #plain(character: string): string {
    if (/["\\]/.test(character) || character < ' ') this.refuse('characters that JSON escapes')
    return character
  }
}

const inClass = (character: string): string => codePoint(character.codePointAt(0) as number)

/** The ASCII characters from one to another. */
function between(low: string, high: string): string {
  const [from, to] = [low.charCodeAt(0), high.charCodeAt(0)]
  return String.fromCharCode(...Array.from({ length: to - from + 1 }, (_, i) => from + i))
}
