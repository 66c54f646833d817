// What /v1/responses takes.

import { z } from 'zod'
import type { TextRequest } from '../../engine/index.ts'
import type { ChatMessage } from '../../models/index.ts'

const part = z.strictObject({
  type: z.enum(['input_text', 'output_text']),
  text: z.string(),
  annotations: z.array(z.unknown()).max(0).optional(), // as answers have them
  logprobs: z.array(z.unknown()).max(0).optional(),
})
const item = z.strictObject({
  type: z.literal('message').optional(),
  id: z.string().optional(),
  status: z.string().optional(),
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content: z.union([z.string(), z.array(part).min(1)], {
    error: 'must be text, or parts of type input_text',
  }),
})

export const responsesSchema = z.strictObject({
  model: z.string().optional(),
  input: z.union([z.string(), z.array(item).min(1)], { error: 'must be text, or a list of messages' }),
  instructions: z.string().optional(),
  previous_response_id: z.string().optional(),
  max_output_tokens: z.int().min(1).optional(),
  temperature: z.number().min(0).max(100).optional(),
  top_p: z.number().gt(0).max(1).optional(),
  stream: z.boolean().optional(),
  store: z.boolean().optional(),
  metadata: z.record(z.string().max(64), z.string().max(512)).optional(),
  text: z.strictObject({ format: z.strictObject({ type: z.literal('text') }).optional() }).optional(),
  truncation: z.literal('disabled').optional(),
  user: z.string().max(1000).optional(),
})

export type ResponsesRequest = z.infer<typeof responsesSchema>

/** The messages of a request alone, as chat templates know them. */
export function inputMessages({ input }: Pick<ResponsesRequest, 'input'>): ChatMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }]
  return input.map(({ role, content }) => ({
    role: role === 'developer' ? 'system' : role, // newer clients' word for it
    content: typeof content === 'string' ? content : content.map(({ text }) => text).join(''),
  }))
}

/** What the engine is asked for. An answer may be as long as there is room, unless the request says otherwise. */
export function responsesSampling(request: ResponsesRequest, context: number): Omit<TextRequest, 'prompt'> {
  const { max_output_tokens = context, temperature, top_p } = request
  return {
    maxNewTokens: max_output_tokens,
    isTemplated: true,
    seed: Math.floor(Math.random() * 2 ** 32),
    ...(temperature !== undefined && { temperature }),
    ...(top_p !== undefined && { topP: top_p }),
  }
}
