// Who takes part in a step, by texts whose forms are of this file's making.
import { describe, expect, test } from 'vitest'
import { gguf, ids } from '../../../tests/support/engine-texts.ts'
import { byteTokenizer } from '../../data/index.ts'
import { type CausalLM, GrowingText, openModel, TextWriter } from '../../models/index.ts'
import { computeSteadily } from '../../moe/index.ts'
import type { GrammarConstraint } from '../grammar/grammars.ts'
import { pageTokens } from './pages.ts'
import { type AskedText, askedText } from './running-text.ts'
import { Scheduler } from './scheduler.ts'

/** A form that allows any token, once it is ready. Asked before, it fails, where the real one would make everybody wait. */
class LateForm implements GrammarConstraint {
  isReady = false
  readonly opened = Promise.resolve()

  allowed(): Int32Array {
    if (!this.isReady) throw new Error('asked before it was ready')
    return new Int32Array(9).fill(-1)
  }

  accept(): void {}

  [Symbol.dispose](): void {}
}

/** Steps of a scheduler, and what became of texts. */
function scheduled(use: (add: typeof ask, step: () => boolean) => void): void {
  using model = openModel(gguf).load({ kind: 'decoder', weights: 'stored' })
  computeSteadily(model)
  using scheduler = new Scheduler(model, room, { onRouting: () => undefined, onTexts: () => undefined })
  use(
    (...request) => {
      const outcome = ask(...request)
      scheduler.add(outcome.asked(model))
      return outcome
    },
    () => scheduler.step(),
  )
}

const room = { texts: 3, context: 8 * pageTokens, cacheTokens: 24 * pageTokens, waiting: 9, pagesAlone: 8 }

/** A text that is asked for, and its end: a reason, or the error's message. */
function ask(prompt: readonly number[], constraint: GrammarConstraint | null = null) {
  const outcome = {
    end: null as string | null,
    asked: (model: CausalLM): AskedText =>
      askedText(
        { prompt },
        {
          text: new GrowingText(
            model.config,
            prompt,
            { temperature: 0, stopIds: [], maxNewTokens: 4 },
            { constraint },
          ),
          ...{ constraint, askedAt: performance.now() },
          writer: new TextWriter(byteTokenizer(), []),
          listener: {
            onPart: ({ end }) => {
              outcome.end = end?.reason ?? outcome.end
            },
            onError: error => {
              outcome.end = (error as Error).message
            },
          },
        },
      ),
  }
  return outcome
}

describe('a text whose form is still compiled', () => {
  test('is read up to what would be scored, however many pages are read at once', () =>
    scheduled((add, step) => {
      const form = new LateForm()
      const held = add(ids(5 * pageTokens, 1), form)
      while (step());
      expect(held.end).toBeNull()
      form.isReady = true
      while (step());
      expect(held.end).toBe('max-new-tokens')
    }))

  test('takes over what another one has read of its prompt, and waits', () =>
    scheduled((add, step) => {
      const form = new LateForm()
      const prompt = ids(3 * pageTokens, 1)
      const first = add(prompt)
      const held = add(prompt, form)
      while (step());
      expect([first.end, held.end]).toEqual(['max-new-tokens', null])
      form.isReady = true
      while (step());
      expect(held.end).toBe('max-new-tokens')
    }))
})

test('a text whose form fails ends alone', () =>
  scheduled((add, step) => {
    const broken = new LateForm()
    broken.allowed = () => {
      throw new Error('the thread of grammars ended')
    }
    broken.isReady = true
    const texts = [add(ids(9, 1)), add(ids(9, 2), broken), add(ids(9, 3))]
    while (step());
    expect(texts.map(({ end }) => end)).toEqual([
      'max-new-tokens',
      'the thread of grammars ended',
      'max-new-tokens',
    ])
  }))
