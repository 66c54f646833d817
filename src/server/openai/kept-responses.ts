// Conversations that clients go on with by the name of their last answer.

import type { RequestMessage } from './chat-messages.ts'

export interface KeptResponse {
  /** Whose it is: nobody else finds it. */
  key: string
  /** The conversation, the answer included; without instructions, which each request has its own. */
  messages: readonly RequestMessage[]
  /** As it was answered. */
  body: { id: string }
}

/** Characters of all that is kept. */
const mostCharacters = 16 * 2 ** 20

/** In memory, until there is too much of it: those that were used longest ago go first. */
export class KeptResponses {
  readonly #kept = new Map<string, KeptResponse>()
  #characters = 0

  keep(response: KeptResponse): void {
    this.#kept.set(response.body.id, response)
    this.#characters += charactersOf(response)
    for (const oldest of this.#kept.values()) {
      if (this.#characters <= mostCharacters) break
      this.delete(oldest.body.id, oldest.key)
    }
  }

  find(id: string, key: string): KeptResponse | undefined {
    const found = this.#kept.get(id)
    if (found?.key !== key) return undefined
    this.#kept.delete(id)
    this.#kept.set(id, found)
    return found
  }

  /** Whether it was there. */
  delete(id: string, key: string): boolean {
    const found = this.find(id, key)
    if (found) this.#characters -= charactersOf(found)
    return found !== undefined && this.#kept.delete(id)
  }
}

/** Each conversation counts whole, though it begins as the one before it. */
const charactersOf = ({ messages, body }: KeptResponse): number =>
  JSON.stringify(messages).length + JSON.stringify(body).length
