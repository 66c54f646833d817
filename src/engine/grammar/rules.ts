// Grammars as text, in the EBNF that xgrammar reads: rules by name, and how strings and characters are written in them.

/** Rules that refer to each other by name. Parts are given as EBNF; rule() gives one a name and returns it. */
export class Rules {
  readonly #bodies = new Map<string, string>()
  #count = 0
  /** What schemas among them cost to compile, in characters: all of a request share one limit. */
  cost = 0

  /** Names a rule; its body may refer to itself. */
  rule(body: (name: string) => string): string {
    const name = `r${this.#count++}`
    this.#bodies.set(name, body(name))
    return name
  }

  /** Takes rules that have names already. Those that are there stay. */
  add(rules: Readonly<Record<string, string>>): void {
    for (const [name, body] of Object.entries(rules))
      if (!this.#bodies.has(name)) this.#bodies.set(name, body)
  }

  /** All rules, where a text is what `root` derives. */
  text(root: string): string {
    const lines = [...this.#bodies].map(([name, body]) => `${name} ::= ${body}\n`)
    return `root ::= ${root}\n${lines.join('')}`
  }
}

/** Exactly this text. */
export const literal = (text: string): string => (text === '' ? '""' : `"${escaped(text)}"`)

export const sequence = (...parts: readonly string[]): string =>
  parts.filter(part => part !== '""').join(' ') || '""'

export const choice = (...parts: readonly string[]): string =>
  parts.length === 1 ? (parts[0] as string) : `(${parts.join(' | ')})`

/** How often something may come; Infinity: without end. */
export function repeated(part: string, least: number, most: number): string {
  if (most === 0) return '""'
  if (least === 1 && most === 1) return part
  return `(${part}){${least},${most === Number.POSITIVE_INFINITY ? '' : most}}`
}

function escaped(text: string): string {
  return Array.from(text, character => {
    if (character === '"' || character === '\\') return `\\${character}`
    return /[ -~]/.test(character) ? character : codePoint(character.codePointAt(0) as number)
  }).join('')
}

/** A character by its number, in a literal or a class. */
export const codePoint = (value: number): string => `\\U${value.toString(16).padStart(8, '0')}`
