// What /v1/messages and /v1/messages/count_tokens take, and the same in the words of /v1/chat/completions.

import { z } from 'zod'
import type { RequestMessage } from '../openai/chat-messages.ts'
import type { ChatRequest } from '../openai/chat-request.ts'
import type { RequestTool } from '../openai/chat-tools.ts'
import type { Limits } from '../settings.ts'

/** Where clients would like a prompt to be kept. Here beginnings of prompts are kept anyway. */
const cached = {
  cache_control: z.strictObject({ type: z.literal('ephemeral'), ttl: z.string().optional() }).nullish(),
}
const textBlock = z.strictObject({
  ...{ type: z.literal('text'), text: z.string(), ...cached },
  citations: z.null().optional(), // as answers have them
})
const texts = z.union([z.string(), z.array(textBlock)], { error: 'must be text, or blocks of type text' })
const id = z.string().max(256)
const toolUse = z.strictObject({
  ...{ type: z.literal('tool_use'), id, name: z.string().max(256), ...cached },
  input: z.record(z.string(), z.unknown()),
})
const toolResult = z.strictObject({
  ...{ type: z.literal('tool_result'), tool_use_id: id, ...cached },
  ...{ content: texts.optional(), is_error: z.boolean().nullish() },
})
const thinking = z.strictObject({
  ...{ type: z.literal('thinking'), thinking: z.string(), signature: z.string() },
})

const blocks = <T extends z.ZodType>(block: T, error: string) =>
  z.union([z.string(), z.array(block)], { error }) // an answer may have none, and comes back
const message = z.discriminatedUnion(
  'role',
  [
    z.strictObject({
      role: z.literal('user'),
      content: blocks(
        z.discriminatedUnion('type', [textBlock, toolResult]),
        'must be text, or blocks of type text and tool_result',
      ),
    }),
    z.strictObject({
      role: z.literal('assistant'),
      content: blocks(
        z.discriminatedUnion('type', [textBlock, toolUse, thinking]),
        'must be text, or blocks of type text, tool_use and thinking',
      ),
    }),
  ],
  { error: 'must be user or assistant' },
)

const tool = z.strictObject({
  type: z.literal('custom').optional(),
  name: z.string().regex(/^[\w.-]{1,64}$/, { error: 'must be 1 to 64 letters, digits, _, . or -' }),
  description: z.string().optional(),
  input_schema: z.record(z.string(), z.unknown()),
  ...cached,
})
const single = { disable_parallel_tool_use: z.boolean().optional() }

const promptFields = {
  model: z.string().optional(),
  messages: z.array(message).min(1),
  system: texts.optional(),
  tools: z.array(tool).max(128).optional(),
  tool_choice: z
    .discriminatedUnion(
      'type',
      [
        z.strictObject({ type: z.enum(['auto', 'any']), ...single }),
        z.strictObject({ type: z.literal('tool'), name: z.string(), ...single }),
        z.strictObject({ type: z.literal('none') }),
      ],
      { error: 'must be of type auto, any, tool or none' },
    )
    .optional(),
  thinking: z.strictObject({ type: z.literal('disabled') }).optional(),
}

export const countTokensSchema = z.strictObject(promptFields)

export const anthropicSchema = ({ stops, stopLength }: Limits) =>
  z.strictObject({
    ...promptFields,
    max_tokens: z.int().min(1),
    stop_sequences: z.array(z.string().min(1).max(stopLength)).max(stops).optional(),
    stream: z.boolean().optional(),
    temperature: z.number().min(0).max(1).optional(),
    top_p: z.number().gt(0).max(1).optional(),
    top_k: z.int().min(0).optional(),
    metadata: z.strictObject({ user_id: z.string().max(1000).nullish() }).optional(),
  })

export type AnthropicPrompt = z.infer<typeof countTokensSchema>
type AnthropicMessage = AnthropicPrompt['messages'][number]

/** The conversation and what it offers. */
export function promptAsChat(request: AnthropicPrompt): ChatRequest {
  const { system, messages, tools, tool_choice } = request
  const before: RequestMessage[] = system === undefined ? [] : [{ role: 'system', content: textOf(system) }]
  return {
    messages: [...before, ...messages.flatMap(messagesOf)],
    ...(tools && { tools: tools.map(toolOf) }),
    ...(tool_choice && choiceOf(tool_choice)),
  }
}

export function requestAsChat(request: z.infer<ReturnType<typeof anthropicSchema>>): ChatRequest {
  const { max_tokens, temperature, top_p, top_k, stop_sequences } = request
  return {
    ...promptAsChat(request),
    ...{ max_completion_tokens: max_tokens, temperature, top_p, top_k, stop: stop_sequences },
  }
}

const textOf = (content: z.infer<typeof texts>): string =>
  typeof content === 'string' ? content : content.map(({ text }) => text).join('')

/** Results of calls are messages of their own, before what the user says. */
function messagesOf({ role, content }: AnthropicMessage): RequestMessage[] {
  if (typeof content === 'string') return [{ role, content }]
  const texts = content.filter(block => block.type === 'text')
  const text = texts.map(block => block.text).join('')
  const results = content.filter(block => block.type === 'tool_result')
  const calls = content.filter(block => block.type === 'tool_use')
  const reasoning_content = content
    .flatMap(block => (block.type === 'thinking' ? block.thinking : []))
    .join('')
  if (role === 'user')
    return [
      ...results.map(({ tool_use_id, content = '' }) => ({
        ...{ role: 'tool' as const, tool_call_id: tool_use_id, content: textOf(content) },
      })),
      ...(texts.length > 0 ? [{ role, content: text }] : []),
    ]
  const tool_calls = calls.map(({ id, name, input }) => ({
    ...{ id, type: 'function' as const, function: { name, arguments: JSON.stringify(input) } },
  }))
  return [{ role, content: text, ...(reasoning_content && { reasoning_content }), tool_calls }]
}

const toolOf = ({ name, description, input_schema }: z.infer<typeof tool>): RequestTool => ({
  type: 'function',
  function: { name, parameters: input_schema, ...(description !== undefined && { description }) },
})

function choiceOf(
  choice: NonNullable<AnthropicPrompt['tool_choice']>,
): Pick<ChatRequest, 'tool_choice' | 'parallel_tool_calls'> {
  if (choice.type === 'none') return { tool_choice: 'none' }
  const named = { type: 'function' as const, function: { name: choice.type === 'tool' ? choice.name : '' } }
  const tool_choice = choice.type === 'tool' ? named : choice.type === 'any' ? 'required' : 'auto'
  return { tool_choice, parallel_tool_calls: choice.disable_parallel_tool_use !== true }
}
