// What /v1/responses takes, and the same in the words of /v1/chat/completions.

import { z } from 'zod'
import type { RequestMessage } from './chat-messages.ts'
import type { ChatRequest } from './chat-request.ts'

const part = z.strictObject({
  type: z.enum(['input_text', 'output_text']),
  text: z.string(),
  // as answers have them
  annotations: z.array(z.unknown()).max(0).optional(),
  logprobs: z.array(z.unknown()).max(0).optional(),
  parsed: z.unknown().optional(), // what the openai package adds
})
const named = { id: z.string().optional(), status: z.string().nullish() }
const callId = z.string().max(256)
const message = z.strictObject({
  ...{ type: z.literal('message').optional(), ...named },
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content: z.union([z.string(), z.array(part)], { error: 'must be text, or parts of type input_text' }),
})
const call = z.strictObject({
  ...{ type: z.literal('function_call'), ...named },
  ...{ call_id: callId, name: z.string().max(256), arguments: z.string() },
  parsed_arguments: z.unknown().optional(),
})
const output = z.strictObject({
  ...{ type: z.literal('function_call_output'), ...named },
  call_id: callId,
  output: z.union([z.string(), z.array(part)], { error: 'must be text, or parts of type input_text' }),
})
/** What an answer thought; it is not read again. */
const reasoning = z.strictObject({
  ...{ type: z.literal('reasoning'), ...named },
  ...{ summary: z.array(z.unknown()), content: z.array(z.unknown()).optional() },
  encrypted_content: z.null().optional(),
})
const item = z.union([message, call, output, reasoning], {
  error: 'must be messages, function_call, function_call_output or reasoning',
})

const name = z.string().regex(/^[\w.-]{1,64}$/, { error: 'must be 1 to 64 letters, digits, _, . or -' })
const json = z.record(z.string(), z.unknown())
const tool = z.strictObject({
  ...{ type: z.literal('function'), name, description: z.string().nullish() },
  ...{ parameters: json.nullish(), strict: z.boolean().nullish() },
})
const format = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ type: z.enum(['text', 'json_object']) }),
    z.strictObject({
      ...{ type: z.literal('json_schema'), name: z.string().max(64), schema: json },
      ...{ description: z.string().nullish(), strict: z.boolean().nullish() },
    }),
  ],
  { error: 'must be text, json_object or json_schema' },
)

export const responsesSchema = z.strictObject({
  model: z.string().optional(),
  input: z.union([z.string(), z.array(item).min(1)], { error: 'must be text, or a list of items' }),
  instructions: z.string().optional(),
  previous_response_id: z.string().optional(),
  max_output_tokens: z.int().min(1).optional(),
  temperature: z.number().min(0).max(100).optional(),
  top_p: z.number().gt(0).max(1).optional(),
  stream: z.boolean().optional(),
  store: z.boolean().optional(),
  include: z.array(z.never(), { error: 'must be empty' }).optional(),
  metadata: z.record(z.string().max(64), z.string().max(512)).optional(),
  text: z.strictObject({ format: format.nullish() }).optional(),
  tools: z.array(tool).max(128).optional(),
  tool_choice: z
    .union([z.enum(['none', 'auto', 'required']), z.strictObject({ type: z.literal('function'), name })], {
      error: 'must be none, auto, required, or a function by its name',
    })
    .optional(),
  parallel_tool_calls: z.boolean().optional(),
  reasoning: z
    .strictObject({
      effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']).nullish(),
      summary: z.null().optional(),
    })
    .optional(),
  truncation: z.literal('disabled').optional(),
  user: z.string().max(1000).optional(),
})

export type ResponsesRequest = z.infer<typeof responsesSchema>

/** The messages of a request alone. */
export function inputMessages({ input }: Pick<ResponsesRequest, 'input'>): RequestMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }]
  return joinedCalls(input.flatMap(messagesOf))
}

function messagesOf(item: Exclude<ResponsesRequest['input'], string>[number]): RequestMessage[] {
  if (item.type === 'reasoning') return []
  if (item.type === 'function_call_output')
    return [{ role: 'tool', tool_call_id: item.call_id, content: textOf(item.output) }]
  if (item.type === 'function_call') {
    const { call_id: id, name, arguments: text } = item
    return [{ role: 'assistant', content: '', tool_calls: [{ id, function: { name, arguments: text } }] }]
  }
  const { role, content } = item
  return [{ role, content: textOf(content) }]
}

const textOf = (content: string | readonly { text: string }[]): string =>
  typeof content === 'string' ? content : content.map(({ text }) => text).join('')

/** What an assistant said and called in one turn is one message. */
function joinedCalls(messages: readonly RequestMessage[]): RequestMessage[] {
  const joined: RequestMessage[] = []
  for (const message of messages) {
    const last = joined.at(-1)
    if (last?.role === 'assistant' && message.role === 'assistant' && message.tool_calls)
      joined[joined.length - 1] = { ...last, tool_calls: [...(last.tool_calls ?? []), ...message.tool_calls] }
    else joined.push(message)
  }
  return joined
}

/** @param messages of the whole conversation, without instructions */
export function responseAsChat(request: ResponsesRequest, messages: readonly RequestMessage[]): ChatRequest {
  const { instructions, tools, tool_choice, parallel_tool_calls, reasoning, text } = request
  const { temperature, top_p, max_output_tokens } = request
  const before: RequestMessage[] =
    instructions === undefined ? [] : [{ role: 'system', content: instructions }]
  const effort = reasoning?.effort
  return {
    messages: [...before, ...messages],
    ...{ max_completion_tokens: max_output_tokens, temperature, top_p, parallel_tool_calls },
    ...(tools && { tools: tools.map(toolOf) }),
    tool_choice:
      typeof tool_choice === 'object'
        ? { type: 'function', function: { name: tool_choice.name } }
        : tool_choice,
    ...(effort && { reasoning_effort: effort }),
    ...(text?.format && { response_format: formatOf(text.format) }),
  }
}

function toolOf({
  name,
  description,
  parameters,
}: z.infer<typeof tool>): NonNullable<ChatRequest['tools']>[number] {
  const own = { ...(description && { description }), ...(parameters && { parameters }) }
  return { type: 'function', function: { name, ...own } }
}

function formatOf(asked: z.infer<typeof format>): NonNullable<ChatRequest['response_format']> {
  if (asked.type !== 'json_schema') return asked
  return { type: 'json_schema', json_schema: { name: asked.name, schema: asked.schema } }
}
