// POST /tokenize and /detokenize, as vLLM has them.

import { z } from 'zod'
import { wrongField } from '../api-error.ts'
import { chatSchema, messagesOf } from '../openai/chat-request.ts'
import { parseBody } from '../openai/fields.ts'
import { modelOf } from '../served-model.ts'
import type { Limits } from '../settings.ts'
import { chatPrompt } from './chat.ts'
import { jsonOf, type Routes, type ServerContext } from './context.ts'

export const tokenizeSchema = (limits: Limits) =>
  z.strictObject({
    model: z.string().optional(),
    prompt: z.string().optional(),
    messages: chatSchema(limits).shape.messages.optional(),
    add_special_tokens: z.boolean().optional(),
  })

export const detokenizeSchema = z.strictObject({
  model: z.string().optional(),
  tokens: z.array(z.int().nonnegative()),
})

export function tokenRoutes(app: Routes, { models, limits }: ServerContext): void {
  const schema = tokenizeSchema(limits)
  app.post('/tokenize', async c => {
    const request = parseBody(schema, await jsonOf(c))
    const served = modelOf(models, request.model)
    const { tokenizer, engine } = served
    const { prompt, messages, add_special_tokens } = request
    if ((prompt === undefined) === (messages === undefined))
      throw wrongField('prompt', 'send either prompt or messages')
    const text = messages ? chatPrompt(served, { messages: messagesOf({ messages }) }) : (prompt ?? '')
    // A template has written special tokens out.
    const tokens = await tokenizer.encode(text, { addSpecialTokens: add_special_tokens ?? !messages })
    return c.json({ count: tokens.length, max_model_len: engine.facts.context, tokens })
  })

  app.post('/detokenize', async c => {
    const request = parseBody(detokenizeSchema, await jsonOf(c))
    const { tokenizer } = modelOf(models, request.model)
    const wrong = request.tokens.findIndex(id => id >= tokenizer.vocabSize)
    if (wrong >= 0)
      throw wrongField(
        `tokens[${wrong}]`,
        `must be below ${tokenizer.vocabSize}, got ${request.tokens[wrong]}`,
      )
    return c.json({ prompt: tokenizer.decode(request.tokens) })
  })
}
