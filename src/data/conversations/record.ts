// What a line of a file for fine-tuning may hold: a conversation, a prompt and its completion, or text.

import { isGroup } from '../../group.ts'

/** A message as chat templates take it. */
export interface ChatTurn {
  role: string
  content: string
  [field: string]: unknown
}

/** Of a source and a target, as the tokenizer calls them. */
export interface Languages {
  source?: string
  target?: string
}

/** One example, of which the model learns the assistant's messages, or the completion. */
export type ConversationRecord =
  | { kind: 'chat'; messages: ChatTurn[]; tools: readonly unknown[] | null; domain: string | undefined }
  | {
      kind: 'plain'
      prompt: string
      completion: string
      languages?: Languages
      domain: string | undefined
    }

/** Two examples of one prompt, of which people, or a judge, preferred the first. */
export interface PreferenceRecord {
  kind: 'pair'
  chosen: ConversationRecord
  rejected: ConversationRecord
  domain: string | undefined
}

/** What a line may hold. */
export type ExampleRecord = ConversationRecord | PreferenceRecord

/** How ShareGPT calls roles. */
const shareGptRoles: Readonly<Record<string, string>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  model: 'assistant',
  system: 'system',
  tool: 'tool',
  observation: 'tool',
  function_response: 'tool',
}

const roles: readonly string[] = ['system', 'developer', 'user', 'assistant', 'tool', 'function']

/**
 * Reads a conversation, or a pair of them: `{ prompt, chosen, rejected }` of texts or of messages, or `{ chosen, rejected }` of whole
 * conversations, whose prompt may be there once more as text. Returns a text that says what is wrong, if anything is.
 */
export function toExample(value: unknown): ExampleRecord | string {
  if (!isGroup(value) || !('chosen' in value)) return toConversation(value)
  const { prompt, chosen, rejected, domain, tools } = value
  const side = (answer: unknown): ConversationRecord | string => {
    const isWhole = prompt === undefined || (typeof prompt === 'string' && Array.isArray(answer))
    return toConversation({
      domain,
      tools,
      ...(isWhole ? { messages: answer } : { prompt, completion: answer }),
    })
  }
  const [better, worse] = [side(chosen), side(rejected)]
  if (typeof better === 'string') return `has a 'chosen' that ${better}`
  if (typeof worse === 'string') return `has a 'rejected' that ${worse}`
  return { kind: 'pair', chosen: better, rejected: worse, domain: better.domain }
}

/**
 * Reads, of what is there the first: `{ messages }` as OpenAI has it, with `tools` perhaps, `{ conversations }` as ShareGPT has it,
 * `{ prompt, completion }` of messages or of texts, `{ source, target }` or `{ translation }` of texts, or `{ text }`, each perhaps with a
 * `domain`. Returns a text that says what is wrong, if anything is.
 */
export function toConversation(value: unknown): ConversationRecord | string {
  if (!isGroup(value)) return 'is no object'
  const { domain, tools } = value
  if (domain !== undefined && domain !== null && typeof domain !== 'string')
    return `has a 'domain' that is no string`
  if (tools !== undefined && tools !== null && !Array.isArray(tools)) return `has 'tools' that are no list`
  const about = { domain: domain ?? undefined }
  const messages = messagesOf(value)
  if (typeof messages === 'string') return messages
  if (messages === null) {
    const plain = textsOf(value)
    return typeof plain === 'string' ? plain : { kind: 'plain', ...plain, ...about }
  }
  if (!messages.some(({ role }) => role === 'assistant'))
    return 'has no message of the assistant, from which to learn'
  return { kind: 'chat', messages, tools: (tools as unknown[] | null | undefined) ?? null, ...about }
}

type Plain = Extract<ConversationRecord, { kind: 'plain' }>
type Texts = Pick<Plain, 'prompt' | 'completion' | 'languages'>

function textsOf(value: Record<string, unknown>): Texts | string {
  const { prompt, completion, text } = value
  if (typeof prompt === 'string' && typeof completion === 'string') return { prompt, completion }
  const pair = pairOf(value)
  if (pair) return pair
  if (typeof text === 'string') return { prompt: '', completion: text }
  return "has none of 'messages', 'conversations', 'prompt' with 'completion', 'source' with 'target', 'translation' of two texts, and 'text'"
}

/**
 * `{ source, target }` of texts, or `{ translation: { en, de } }` as datasets has it, from the first to the second unless `source_lang` and
 * `target_lang` say otherwise.
 */
function pairOf(value: Record<string, unknown>): Texts | null {
  const { source, target, translation } = value
  const [from, to] = [value.source_lang, value.target_lang].map(name =>
    typeof name === 'string' ? name : undefined,
  )
  if (typeof source === 'string' && typeof target === 'string')
    return { prompt: source, completion: target, languages: languagesOf(from, to) }
  if (!isGroup(translation)) return null
  const [first, second] = Object.keys(translation)
  const [asked, into] = [from ?? first, to ?? second]
  const texts = [asked, into].map(name => (name === undefined ? undefined : translation[name]))
  const [prompt, completion] = texts
  if (typeof prompt !== 'string' || typeof completion !== 'string') return null
  return { prompt, completion, languages: languagesOf(asked, into) }
}

const languagesOf = (source: string | undefined, target: string | undefined): Languages => ({
  ...(source !== undefined && { source }),
  ...(target !== undefined && { target }),
})

/** Null where there are none. */
function messagesOf(value: Record<string, unknown>): ChatTurn[] | string | null {
  const { messages, conversations, prompt, completion } = value
  if (Array.isArray(messages)) return checked(messages)
  if (Array.isArray(conversations)) return checked(conversations.map(fromShareGpt))
  if (Array.isArray(prompt) && Array.isArray(completion)) return checked([...prompt, ...completion])
  return null
}

function fromShareGpt(message: unknown): unknown {
  if (!isGroup(message) || typeof message.from !== 'string') return message
  return { role: shareGptRoles[message.from] ?? message.from, content: message.value }
}

function checked(messages: readonly unknown[]): ChatTurn[] | string {
  if (messages.length === 0) return 'has no messages'
  const turns: ChatTurn[] = []
  for (const [i, message] of messages.entries()) {
    const turn = toTurn(message)
    if (typeof turn === 'string') return `has a message ${i + 1} that ${turn}`
    turns.push(turn)
  }
  return turns
}

function toTurn(message: unknown): ChatTurn | string {
  if (!isGroup(message)) return 'is no object'
  const { role, content } = message
  if (typeof role !== 'string') return "has no 'role'"
  if (!roles.includes(role)) return `has the role '${role.slice(0, 40)}', not one of ${roles.join(', ')}`
  const calls = Array.isArray(message.tool_calls) && message.tool_calls.length > 0
  const text = textOf(content ?? (calls ? '' : null))
  return text === null ? "has no 'content' of text" : { ...message, role, content: text }
}

/** Text, or the texts of parts as `[{ type: 'text', text }]`. */
function textOf(content: unknown): string | null {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return null
  const texts = content.map(part => (isGroup(part) && part.type === 'text' ? part.text : null))
  return texts.every(text => typeof text === 'string') ? texts.join('') : null
}
