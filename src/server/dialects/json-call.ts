// Calls as JSON: `{"name": "f", "arguments": {...}}`, whose arguments are given out as they come.

import { type Input, type Reading, skipMatch, skipSpace } from './input.ts'

/** What stands between the quotes of a string of JSON. */
const inString = String.raw`(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*`
/** Members beside the name that come before the arguments, as an id or a type. */
const others = String.raw`(?:"(?!(?:name|arguments|parameters)")${inString}"\s*:\s*(?:"${inString}"|[-+.\w]+)\s*,\s*)*`
const head = new RegExp(
  String.raw`^\s*\{\s*${others}"name"\s*:\s*"(${inString})"\s*,\s*${others}"(?:arguments|parameters)"\s*:\s*`,
)
/** The end of a call, or what it has beside its name and arguments: a key, as of an id. */
const endOrKey = new RegExp(String.raw`^\s*(?:\}|(,)\s*"${inString}"\s*:\s*)`)

/** Reads one call. False for text that is none, of which nothing has been read. */
export function* jsonCall(input: Input): Reading<boolean> {
  const found = yield* skipMatch(input, head)
  if (found === null) return false
  yield { kind: 'call', name: JSON.parse(`"${found[1]}"`) as string }
  yield* jsonArguments(input)
  while ((yield* skipMatch(input, endOrKey))?.[1]) yield* skipValue(input)
  return true
}

/** Passes a value of JSON. */
function* skipValue(input: Input): Reading {
  for (const event of jsonArguments(input)) if (event === null) yield null
}

/** Gives out a value of JSON as arguments, up to its last character. */
export function* jsonArguments(input: Input): Reading {
  if (!(yield* skipSpace(input))) return
  const span = new JsonSpan()
  while (!span.isOver) {
    const length = span.push(input.text)
    if (length > 0) yield { kind: 'arguments', text: input.take(length) }
    if (span.isOver || input.isOver) return
    yield null
  }
}

/** Finds the end of a value of JSON that comes in pieces. */
class JsonSpan {
  #depth = 0
  #isInString = false
  #isEscaped = false
  /** Whether it is a number, true, false or null, whose end shows in what follows. */
  #isBare = false
  #isBegun = false
  isOver = false

  /** How much of a piece belongs to the value. */
  push(text: string): number {
    for (let at = 0; at < text.length; at++) {
      const character = text.charAt(at)
      if (this.#isAfter(character)) return at
      this.#step(character)
      if (this.isOver) return at + 1
    }
    return text.length
  }

  /** Whether a character comes after a value that shows its end so. */
  #isAfter(character: string): boolean {
    if (!this.#isBegun) this.#isBare = /[-\w]/.test(character)
    this.#isBegun = true
    this.isOver = this.#isBare && /[\s,\]}]/.test(character)
    return this.isOver
  }

  #step(character: string): void {
    if (this.#isEscaped) this.#isEscaped = false
    else if (this.#isInString) this.#stepInString(character)
    else if (character === '"') this.#isInString = true
    else if (/[{[]/.test(character)) this.#depth++
    else if (/[}\]]/.test(character) && --this.#depth <= 0) this.isOver = true
  }

  #stepInString(character: string): void {
    this.#isEscaped = character === '\\'
    this.#isInString = character !== '"'
    this.isOver = !this.#isInString && this.#depth === 0
  }
}
