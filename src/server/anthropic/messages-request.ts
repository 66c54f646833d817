// What /v1/messages and /v1/messages/count_tokens take.

import { z } from 'zod'
import type { TextRequest } from '../../engine/index.ts'
import type { ChatMessage } from '../../models/index.ts'
import type { Limits } from '../settings.ts'

/** Where clients would like a prompt to be kept. Here beginnings of prompts are kept anyway. */
const cacheControl = z.strictObject({ type: z.literal('ephemeral'), ttl: z.string().optional() })
const textBlock = z.strictObject({
  type: z.literal('text'),
  text: z.string(),
  cache_control: cacheControl.nullish(),
  citations: z.null().optional(),
})
const content = z.union([z.string(), z.array(textBlock).min(1)], {
  error: 'must be text, or blocks of type text',
})
const message = z.strictObject({ role: z.enum(['user', 'assistant']), content })

const promptFields = {
  model: z.string().optional(),
  messages: z.array(message).min(1),
  system: content.optional(),
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
export type AnthropicRequest = z.infer<ReturnType<typeof anthropicSchema>>

const textOf = (content: AnthropicPrompt['messages'][number]['content']): string =>
  typeof content === 'string' ? content : content.map(({ text }) => text).join('')

/** Messages as chat templates know them. */
export function anthropicMessages({ system, messages }: AnthropicPrompt): ChatMessage[] {
  const said = messages.map(({ role, content }) => ({ role, content: textOf(content) }))
  return system === undefined ? said : [{ role: 'system', content: textOf(system) }, ...said]
}

/** What the engine is asked for. */
export function anthropicSampling(request: AnthropicRequest): Omit<TextRequest, 'prompt'> {
  const { temperature, top_p, top_k, stop_sequences = [] } = request
  return {
    maxNewTokens: request.max_tokens,
    isTemplated: true,
    stop: stop_sequences,
    seed: Math.floor(Math.random() * 2 ** 32),
    ...(temperature !== undefined && { temperature }),
    ...(top_p !== undefined && { topP: top_p }),
    ...(top_k !== undefined && { topK: top_k }),
  }
}
