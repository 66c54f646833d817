// Calls as JSON: `{"name": "f", "arguments": {...}}`, whose arguments are given out as they come.

import { type Input, type Reading, skipMatch, skipSpace } from './input.ts'

const head = /^\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*/

/** Reads one call. False for text that is none, of which nothing has been read. */
export function* jsonCall(input: Input): Reading<boolean> {
  const found = yield* skipMatch(input, head)
  if (found === null) return false
  yield { kind: 'call', name: JSON.parse(`"${found[1]}"`) as string }
  yield* jsonArguments(input)
  yield* skipMatch(input, /^\s*\}/)
  return true
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

/** Finds the end of an object or list of JSON that comes in pieces. */
class JsonSpan {
  #depth = 0
  #isInString = false
  #isEscaped = false
  isOver = false

  /** How much of a piece belongs to the value. */
  push(text: string): number {
    for (const [at, character] of [...text].entries()) {
      this.#step(character)
      if (this.isOver) return [...text].slice(0, at + 1).join('').length
    }
    return text.length
  }

  #step(character: string): void {
    if (this.#isEscaped) this.#isEscaped = false
    else if (this.#isInString) {
      this.#isEscaped = character === '\\'
      this.#isInString = character !== '"'
    } else if (character === '"') this.#isInString = true
    else if (/[{[]/.test(character)) this.#depth++
    else if (/[}\]]/.test(character) && --this.#depth <= 0) this.isOver = true
  }
}
