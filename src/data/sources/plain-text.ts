// Plain text files of any length.

import { splitText } from '../split-text.ts'
import { readBytes } from './byte-stream.ts'

/** The text of a file in parts of document size; the whole file is never in memory. Bad UTF-8 becomes U+FFFD. */
export async function* readPlainText(file: string): AsyncGenerator<string> {
  const utf8 = new TextDecoder()
  let pending = ''
  for await (const chunk of readBytes(file)) {
    pending += utf8.decode(chunk, { stream: true })
    const parts = splitText(pending)
    pending = parts.pop() ?? ''
    yield* parts
  }
  pending += utf8.decode()
  if (pending !== '') yield pending
}
