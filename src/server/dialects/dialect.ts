// What a model writes beside text, by its chat template: reasoning and calls of functions.

import { deepseek, deepseekShort } from './deepseek.ts'
import { finalOpening, harmony } from './harmony.ts'
import { hermes } from './hermes.ts'
import { type AnswerEvent, Input, type Reading, textUntil } from './input.ts'
import { llama } from './llama.ts'
import { mistral, mistralNamed } from './mistral.ts'
import { hasThinking, isThinking, noThought, readThought, thinkSpecials } from './thinking.ts'
import type { ToolFormat } from './tool-format.ts'

const formats: readonly ToolFormat[] = [
  ...[harmony, hermes, mistralNamed, mistral, deepseek, deepseekShort, llama],
]

export interface Dialect {
  /** How calls are written; null where the template does not say. */
  tools: ToolFormat | null
  hasReasoning: boolean
  /** Special tokens that tell its parts apart. */
  specials: readonly string[]
  /** What ends the reasoning that a prompt has begun; empty where it has not. */
  thoughtEnd(prompt: string): string
  /** What an answer itself begins with. */
  answerStart: string
  /** Reads an answer to a prompt. Calls are looked for where functions were offered. */
  read(prompt: string, hasTools: boolean): AnswerReader
}

export function dialectOf(template: string): Dialect {
  const tools = formats.find(format => format.isIn(template)) ?? null
  if (tools === harmony) return harmonyDialect
  const thinks = hasThinking(template)
  return {
    tools,
    hasReasoning: thinks,
    specials: [...(thinks ? thinkSpecials : []), ...(tools?.specials ?? [])],
    thoughtEnd: prompt => (thinks && isThinking(prompt) ? noThought : ''),
    answerStart: '',
    read: (prompt, hasTools) =>
      new AnswerReader(input => partsOf(input, thinks, isThinking(prompt), hasTools ? tools : null)),
  }
}

const harmonyDialect: Dialect = {
  tools: harmony,
  hasReasoning: true,
  specials: harmony.specials,
  thoughtEnd: () => '',
  answerStart: finalOpening,
  read: () => new AnswerReader(input => harmony.read(input)),
}

function* partsOf(input: Input, thinks: boolean, isOpen: boolean, tools: ToolFormat | null): Reading {
  if (thinks) yield* readThought(input, isOpen)
  if (tools) yield* tools.read(input)
  else yield* textUntil(input, [])
}

/** Takes an answer in pieces, and tells what each adds to it. */
export class AnswerReader {
  readonly #input = new Input()
  readonly #reading: Reading
  #space = ''
  /** Calls that the prompt has begun. */
  #begun: AnswerEvent[] = []

  constructor(read: (input: Input) => Reading) {
    this.#reading = read(this.#input)
  }

  /** Takes what the prompt has of the answer already. */
  begin(text: string): void {
    this.#begun = this.push(text).filter(({ kind }) => kind === 'call')
  }

  push(text: string): AnswerEvent[] {
    this.#input.text += text
    const begun = this.#begun.splice(0)
    return [...begun, ...this.#events()]
  }

  /** What was held back, once no more text comes. */
  end(): AnswerEvent[] {
    this.#input.isOver = true
    const events = this.#events()
    const space = this.#space
    return space === '' ? events : [...events, { kind: 'content', text: space }]
  }

  #events(): AnswerEvent[] {
    const events: AnswerEvent[] = []
    for (let next = this.#reading.next(); !next.done && next.value; next = this.#reading.next())
      events.push(...this.#spaced(next.value))
    return events
  }

  /** Space at the end of content waits: before a call it is none. */
  #spaced(event: AnswerEvent): AnswerEvent[] {
    if (event.kind !== 'content') {
      this.#space = ''
      return [event]
    }
    const all = this.#space + event.text
    const text = all.trimEnd()
    this.#space = all.slice(text.length)
    return text === '' ? [] : [{ kind: 'content', text }]
  }
}
