// Who may ask.

import { createHash, timingSafeEqual } from 'node:crypto'
import { ApiError } from './api-error.ts'

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Keys of the API, which are compared in a time that does not depend on how much of one is right. */
export class ApiKeys {
  readonly #digests: readonly Buffer[]

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digest)
  }

  /** Which key a request shows, as a short name for its turn in the queue; '' where none are demanded. @throws ApiError */
  nameOf(authorization: string | undefined): string {
    if (this.#digests.length === 0) return ''
    const [, shown] = /^Bearer +(\S+)$/i.exec(authorization ?? '') ?? []
    if (shown === undefined)
      throw new ApiError(401, 'an API key is needed: send it as Authorization: Bearer KEY', {
        code: 'invalid_api_key',
      })
    const given = digest(shown)
    const isKnown = this.#digests.map(known => timingSafeEqual(known, given)).includes(true)
    if (!isKnown) throw new ApiError(401, 'the API key is not known here', { code: 'invalid_api_key' })
    return given.toString('hex').slice(0, 8)
  }
}
