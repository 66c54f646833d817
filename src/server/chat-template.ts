// A model's own chat template: what it takes, what it says of the model's answers, and what it writes.

import type { Tokenizer } from '../data/index.ts'
import { TemplateThread, templateTokens } from '../models/index.ts'
import { type Dialect, dialectOf } from './dialects/dialect.ts'

/** Whether a template goes through the arguments of calls, perhaps by another name, or writes them as JSON itself. */
function writesValues(text: string): boolean {
  const [, other = 'arguments'] = /set\s+(\w+)\s*=\s*\w+(?:\.function)?\.arguments\b/.exec(text) ?? []
  return [other, 'arguments'].some(name =>
    new RegExp(`\\b${name}(\\s*\\|\\s*(tojson|items)|\\.items\\(|\\s+is mapping)`).test(text),
  )
}

export class ChatTemplate {
  readonly dialect: Dialect
  /** Whether it wants arguments of calls as values of JSON, where others want their text. */
  readonly hasArgumentValues: boolean
  readonly #text: string
  readonly #tokens: ReturnType<typeof templateTokens>
  readonly #thread: TemplateThread

  constructor(text: string, tokenizer: Tokenizer) {
    this.dialect = dialectOf(text)
    this.hasArgumentValues = writesValues(text)
    this.#text = text
    this.#tokens = templateTokens(tokenizer)
    this.#thread = new TemplateThread(text)
  }

  /** Whether it speaks of a variable. */
  takes(variable: string): boolean {
    return new RegExp(`\\b${variable}\\b`).test(this.#text)
  }

  /**
   * A conversation, by default ready for the model's answer.
   *
   * @throws TemplateError when the template refuses it, or takes too long
   */
  render(variables: Record<string, unknown>, { forAnswer = true } = {}): Promise<string> {
    return this.#thread.render({ ...variables, add_generation_prompt: forAnswer, ...this.#tokens })
  }
}
