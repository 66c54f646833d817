// Reading an answer as it is written. A reading is a generator: it gives out what has become certain, and `null` when it
// needs more text.

type TextKind = 'content' | 'reasoning' | 'arguments'

/** A piece of an answer. The first of a call has its name, and pieces of its arguments follow. */
export type AnswerEvent =
  | { kind: TextKind; text: string }
  /** With the id that the model gives it, where it gives one. */
  | { kind: 'call'; name: string; id?: string }

export type Reading<T = void> = Generator<AnswerEvent | null, T, void>

/** Text that has come and was not read yet. */
export class Input {
  text = ''
  /** Whether no more will come. */
  isOver = false

  /** Gives out as many characters. */
  take(length: number): string {
    const taken = this.text.slice(0, length)
    this.text = this.text.slice(length)
    return taken
  }
}

/** Gives out text as `kind` until a marker, which it passes; null when the text ends without one. */
export function* textUntil(
  input: Input,
  markers: readonly string[],
  kind: TextKind = 'content',
): Reading<string | null> {
  for (;;) {
    const found = earliest(input.text, markers)
    if (found) {
      yield* pieceOf(kind, input.take(found.at))
      input.take(found.marker.length)
      return found.marker
    }
    const held = input.isOver ? 0 : Math.max(0, ...markers.map(marker => overlap(input.text, marker)))
    yield* pieceOf(kind, input.take(input.text.length - held))
    if (input.isOver) return null
    yield null
  }
}

function* pieceOf(kind: TextKind, text: string): Reading {
  if (text !== '') yield { kind, text }
}

function earliest(text: string, markers: readonly string[]): { at: number; marker: string } | null {
  const places = markers.map(marker => ({ at: text.indexOf(marker), marker })).filter(({ at }) => at >= 0)
  return places.toSorted((a, b) => a.at - b.at)[0] ?? null
}

/** Length of the longest end of `text` that begins `marker`. */
function overlap(text: string, marker: string): number {
  for (let length = Math.min(text.length, marker.length - 1); length > 0; length--)
    if (text.endsWith(marker.slice(0, length))) return length
  return 0
}

/** Waits for the first character that is no space, and passes those before it. False when none comes. */
export function* skipSpace(input: Input): Reading<boolean> {
  for (;;) {
    input.text = input.text.trimStart()
    if (input.text !== '') return true
    if (input.isOver) return false
    yield null
  }
}

/** Whether a text comes next, which is passed. */
export function* skipText(input: Input, expected: string): Reading<boolean> {
  while (!input.isOver && input.text.length < expected.length && expected.startsWith(input.text)) yield null
  if (!input.text.startsWith(expected)) return false
  input.take(expected.length)
  return true
}

/** Longest head of a call: what is no call by then is text. */
const longestHead = 1000

/** Waits until an expression matches from here on, and passes what it matched; null when it does not. */
export function* skipMatch(input: Input, expression: RegExp): Reading<RegExpExecArray | null> {
  for (;;) {
    const match = expression.exec(input.text)
    if (match?.index === 0) {
      input.take(match[0].length)
      return match
    }
    if (input.isOver || input.text.length > longestHead) return null
    yield null
  }
}
