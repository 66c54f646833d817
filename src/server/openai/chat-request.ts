// What /v1/chat/completions takes.

import { z } from 'zod'
import type { TextRequest } from '../../engine/index.ts'
import type { ChatMessage } from '../../models/index.ts'
import { wrongField } from '../api-error.ts'
import type { Limits } from '../settings.ts'
import { samplingFields, samplingOf } from './fields.ts'

const textPart = z.strictObject({ type: z.literal('text'), text: z.string() })
const content = z.union([z.string(), z.array(textPart).min(1)], {
  error: 'must be text, or parts of type text',
})
const message = z.strictObject({
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content,
})

export const chatSchema = (limits: Limits) =>
  z.strictObject({
    ...samplingFields(limits),
    messages: z.array(message).min(1),
    max_completion_tokens: z.int().nonnegative().optional(),
    logprobs: z.boolean().optional(),
    top_logprobs: z.int().min(0).max(limits.logprobs).optional(),
    response_format: z.strictObject({ type: z.literal('text') }).optional(),
  })

export type ChatRequest = z.infer<ReturnType<typeof chatSchema>>

/** Messages as chat templates know them. */
export function messagesOf({ messages }: Pick<ChatRequest, 'messages'>): ChatMessage[] {
  return messages.map(({ role, content }) => ({
    role: role === 'developer' ? 'system' : role, // newer clients' word for it
    content: typeof content === 'string' ? content : content.map(({ text }) => text).join(''),
  }))
}

/** What the engine is asked for. An answer may be as long as there is room, unless the request says otherwise. */
export function chatSampling(request: ChatRequest, context: number): Omit<TextRequest, 'prompt'> {
  const { logprobs = false, top_logprobs, max_completion_tokens, max_tokens } = request
  if (top_logprobs !== undefined && !logprobs) throw wrongField('top_logprobs', 'needs logprobs: true')
  if (max_tokens !== undefined && max_completion_tokens !== undefined && max_tokens !== max_completion_tokens)
    throw wrongField('max_tokens', 'contradicts max_completion_tokens: send one of them')
  return {
    maxNewTokens: max_completion_tokens ?? context,
    ...samplingOf(request),
    isTemplated: true,
    ...(logprobs && { logprobs: top_logprobs ?? 0 }),
  }
}
