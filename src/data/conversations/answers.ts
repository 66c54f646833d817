// Which parts of a conversation's text are the assistant's.

import type { ChatTurn, ConversationRecord, Languages } from './record.ts'

/** Writes a conversation as the model's chat template does. `forAnswer`: ready for the assistant's next message. */
export type Render = (
  messages: readonly ChatTurn[],
  options: { tools: readonly unknown[] | null; forAnswer: boolean },
) => Promise<string>

/** A text, and where in it are the answers: ascending, in UTF-16 code units. */
export interface AnsweredText {
  text: string
  answers: readonly (readonly [start: number, end: number])[]
  /** Whether it is as the model's template writes it, special tokens included. */
  isTemplated: boolean
  /** What languages a translation is from and into, where that is said. */
  languages?: Languages
}

/**
 * An answer is what the template adds when a message of the assistant follows what asks for it. Where every beginning of a
 * conversation is a beginning of its text, that is one text with all answers; where later messages change how earlier ones are
 * written (templates that leave out earlier reasoning do), each answer comes with the text that the model would see before it.
 */
export async function answeredTexts(record: ConversationRecord, render: Render): Promise<AnsweredText[]> {
  if (record.kind === 'plain') {
    const { prompt, completion, languages } = record
    const text = prompt + completion
    const answers = [[prompt.length, text.length]] as const
    return [{ text, answers, isTemplated: false, ...(languages && { languages }) }]
  }
  const turns = await Promise.all(
    record.messages.flatMap(({ role }, i) => (role === 'assistant' ? [answered(record, i, render)] : [])),
  )
  const last = turns.at(-1)
  const isGrowing = turns.every(({ text }) => last?.text.startsWith(text))
  if (!last || !isGrowing) return turns
  return [{ ...last, answers: turns.flatMap(({ answers }) => answers) }]
}

/** A conversation up to its message `i`, which is the answer. */
async function answered(
  { messages, tools }: Extract<ConversationRecord, { kind: 'chat' }>,
  i: number,
  render: Render,
): Promise<AnsweredText> {
  const [asked, text] = await Promise.all([
    render(messages.slice(0, i), { tools, forAnswer: true }),
    render(messages.slice(0, i + 1), { tools, forAnswer: false }),
  ])
  return { text, answers: [[commonLength(asked, text), text.length]], isTemplated: true }
}

/** How far two texts are the same: what asks for an answer may open a part that an answer without it leaves out. */
function commonLength(a: string, b: string): number {
  let length = 0
  while (length < a.length && a[length] === b[length]) length++
  return length
}
