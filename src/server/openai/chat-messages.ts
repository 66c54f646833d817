// Messages of a conversation, as requests have them and as templates want them.

import { z } from 'zod'

const textPart = z.strictObject({ type: z.literal('text'), text: z.string() })
const content = z.union([z.string(), z.array(textPart).min(1)], {
  error: 'must be text, or parts of type text',
})
const name = z.string().max(256).nullish()
const toolCall = z.strictObject({
  id: z.string().max(256),
  type: z.literal('function').optional(),
  index: z.int().optional(), // as pieces of a stream have it
  function: z.strictObject({
    ...{ name: z.string().max(256), arguments: z.string() },
    parsed_arguments: z.unknown().optional(), // what the openai package adds to those of strict tools
  }),
})

const message = z.discriminatedUnion(
  'role',
  [
    z.strictObject({ role: z.enum(['system', 'developer', 'user']), content, name }),
    z.strictObject({
      role: z.literal('assistant'),
      ...{ content: content.nullish(), name },
      tool_calls: z.array(toolCall).max(128).nullish(),
      reasoning_content: z.string().nullish(),
      ...{ refusal: z.null().optional(), audio: z.null().optional(), function_call: z.null().optional() },
      parsed: z.unknown().optional(), // what the openai package adds to the messages that it got
    }),
    z.strictObject({
      role: z.literal('tool'),
      content,
      tool_call_id: z.string().max(256),
      name,
    }),
  ],
  { error: 'must be system, developer, user, assistant or tool' },
)

export const messageList = z.array(message).min(1)

export type RequestMessage = z.infer<typeof message>

/** Messages as chat templates know them. @param hasValues whether arguments of calls are given as values, not as text */
export function templateMessages(
  messages: readonly RequestMessage[],
  hasValues: boolean,
): Record<string, unknown>[] {
  const nameOf = new Map(
    messages.flatMap(message =>
      message.role === 'assistant'
        ? (message.tool_calls ?? []).map(call => [call.id, call.function.name])
        : [],
    ) as [string, string][],
  )
  return messages.map(message => {
    const text = textOf(message.content)
    if (message.role === 'tool') {
      const { role, tool_call_id, name } = message
      return { role, content: text, tool_call_id, ...named(name ?? nameOf.get(tool_call_id)) }
    }
    if (message.role !== 'assistant') {
      const role = message.role === 'developer' ? 'system' : message.role // newer clients' word for it
      return { role, content: text, ...named(message.name) }
    }
    const { role, tool_calls, reasoning_content } = message
    const calls = (tool_calls ?? []).map(call => ({
      id: call.id,
      type: 'function',
      function: { ...call.function, ...(hasValues && { arguments: argumentsOf(call.function.arguments) }) },
    }))
    return {
      ...{ role, content: text, ...named(message.name) },
      ...(reasoning_content && { reasoning_content }),
      ...(calls.length > 0 && { tool_calls: calls }),
    }
  })
}

const named = (name: string | null | undefined): { name?: string } => (name ? { name } : {})

function textOf(content: RequestMessage['content']): string {
  if (typeof content === 'string') return content
  return (content ?? []).map(({ text }) => text).join('')
}

/** Arguments that are no JSON stay what they are. */
function argumentsOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
