// The thread in which grammars are compiled and matched, so that texts of others need not wait.

import { parentPort, workerData } from 'node:worker_threads'
import { invariant } from '../../errors.ts'
import { Matchers, type TextMatcher } from './matchers.ts'
import type { FromGrammars, OpenText, ToGrammars, VocabularyBytes } from './messages.ts'
import { TokenMasks } from './token-masks.ts'

invariant(parentPort, 'this file is for worker threads')
const port = parentPort
const matchers = new Matchers(workerData as VocabularyBytes)
const texts = new Map<number, { matcher: TextMatcher; masks: TokenMasks }>()

/** One message after the other, as they came: what is asked of a text follows on its opening. */
let last: Promise<void> = Promise.resolve()
port.on('message', (message: ToGrammars) => {
  last = last.then(() => take(message))
})

async function take(message: ToGrammars): Promise<void> {
  if (message.kind === 'open') return open(message)
  const text = texts.get(message.id)
  if (!text) return
  if (message.kind === 'close') {
    texts.delete(message.id)
    text.matcher[Symbol.dispose]()
    return
  }
  try {
    text.matcher.accept(message.token)
    text.masks.put(text.matcher.mask())
  } catch {
    text.masks.fail()
  }
}

async function open({ id, grammar, isForeign, stopIds, masks: buffer }: OpenText): Promise<void> {
  const answer = (problem: string | null): void => port.postMessage({ id, problem } satisfies FromGrammars)
  try {
    const matcher = await matchers.matcher(grammar, isForeign, stopIds)
    const masks = new TokenMasks(buffer)
    masks.put(matcher.mask())
    texts.set(id, { matcher, masks })
    answer(null)
  } catch (error) {
    answer(error instanceof Error ? error.message : String(error))
  }
}
