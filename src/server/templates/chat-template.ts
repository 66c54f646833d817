// A model's own chat template: what it takes, what it says of the model's answers, and what it writes.

import { type Dialect, dialectOf } from '../dialects/dialect.ts'
import { TemplateThread } from './template-thread.ts'

/** Names of the special tokens that templates write. */
export interface TemplateTokens {
  bos: string | undefined
  eos: string | undefined
}

export class ChatTemplate {
  readonly dialect: Dialect
  /** Whether it wants arguments of calls as values of JSON, where others want their text. */
  readonly hasArgumentValues: boolean
  readonly #text: string
  readonly #tokens: TemplateTokens
  readonly #thread: TemplateThread

  constructor(text: string, tokens: TemplateTokens) {
    this.dialect = dialectOf(text)
    this.hasArgumentValues = /arguments\s*\|\s*(tojson|items)|arguments\.items\(/.test(text)
    this.#text = text
    this.#tokens = tokens
    this.#thread = new TemplateThread(text)
  }

  /** Whether it speaks of a variable. */
  takes(variable: string): boolean {
    return new RegExp(`\\b${variable}\\b`).test(this.#text)
  }

  /** A conversation, ready for the model's answer. @throws TemplateError when it refuses, or takes too long */
  render(variables: Record<string, unknown>): Promise<string> {
    const { bos = '', eos = '' } = this.#tokens
    return this.#thread.render({ ...variables, add_generation_prompt: true, bos_token: bos, eos_token: eos })
  }
}
