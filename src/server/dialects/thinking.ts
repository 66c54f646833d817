// Reasoning before the answer: `<think>...</think>`, where the template may have written the first of them already.

import { type Input, type Reading, skipSpace, textUntil } from './input.ts'

const [open, close] = ['<think>', '</think>']

export const thinkSpecials: readonly string[] = [open, close]

/** Whether a template knows of reasoning. */
export const hasThinking = (template: string): boolean => template.includes(close)

/** Whether a prompt ends within reasoning, which the answer goes on with. */
export const isThinking = (prompt: string): boolean => prompt.trimEnd().endsWith(open)

/** What ends reasoning before it has begun. */
export const noThought = `\n${close}\n\n`

/** Reads reasoning, where there is some, and passes the space after it. Some begin it where the prompt has begun it, too. */
export function* readThought(input: Input, isOpen: boolean): Reading {
  while (!input.isOver && open.startsWith(input.text.trimStart())) yield null
  const begins = input.text.trimStart().startsWith(open)
  if (!begins && !isOpen) return
  yield* skipSpace(input)
  if (begins) input.take(open.length)
  yield* skipSpace(input)
  yield* textUntil(input, [close], 'reasoning')
  yield* skipSpace(input)
}
