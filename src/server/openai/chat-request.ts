// What /v1/chat/completions takes.

import { z } from 'zod'
import type { TextRequest } from '../../engine/index.ts'
import { wrongField } from '../api-error.ts'
import type { Limits } from '../settings.ts'
import { messageList } from './chat-messages.ts'
import { toolFields } from './chat-tools.ts'
import { samplingFields, samplingOf } from './fields.ts'

const json = z.record(z.string(), z.unknown())
const responseFormat = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ type: z.literal('text') }),
    z.strictObject({ type: z.literal('json_object') }),
    z.strictObject({
      type: z.literal('json_schema'),
      json_schema: z.strictObject({
        name: z.string().max(64),
        description: z.string().nullish(),
        schema: json.optional(),
        strict: z.boolean().nullish(), // an answer is held to the schema either way
      }),
    }),
  ],
  { error: 'must be text, json_object or json_schema' },
)

export const chatSchema = (limits: Limits) =>
  z.strictObject({
    ...samplingFields(limits),
    ...toolFields,
    messages: messageList,
    max_completion_tokens: z.int().nonnegative().optional(),
    logprobs: z.boolean().optional(),
    top_logprobs: z.int().min(0).max(limits.logprobs).optional(),
    response_format: responseFormat.optional(),
    reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']).optional(),
    chat_template_kwargs: json.optional(),
  })

export type ChatRequest = z.infer<ReturnType<typeof chatSchema>>

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
