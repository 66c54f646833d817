// Conversations as a model's own template writes them.

import { ConfigError, FormatError } from '../errors.ts'
import type { OpenedModel, TemplateThread } from '../models/index.ts'

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant'
  content: string
}

export class WrittenChat {
  readonly #opened: OpenedModel
  readonly #template: string
  #thread: TemplateThread | null = null

  /** @throws ConfigError for a model without a template */
  constructor(opened: OpenedModel) {
    this.#opened = opened
    if (opened.template === null) {
      throw new ConfigError(
        'has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); continue a text with: switchyard generate',
        { path: opened.path },
      )
    }
    this.#template = opened.template
  }

  /** All of it, ready for the model's answer. @throws FormatError when the template fails, or refuses the conversation */
  async text(messages: readonly ChatMessage[]): Promise<string> {
    const { TemplateError, TemplateThread, templateTokens } = await import('../models/index.ts')
    this.#thread ??= new TemplateThread(this.#template)
    const own = { add_generation_prompt: true, ...templateTokens(this.#opened.tokenizer) }
    try {
      return await this.#thread.render({ messages, ...own })
    } catch (cause) {
      if (!(cause instanceof TemplateError)) throw cause
      throw new FormatError(`the chat template fails: ${cause.message}`, { file: this.#opened.path, cause })
    }
  }
}
