// POST /tokenize and /detokenize, as vLLM has them.

import { z } from 'zod'
import { wrongField } from '../api-error.ts'
import { chatSchema } from '../openai/chat-request.ts'
import { chatPrompt } from '../openai/chat-turn.ts'
import { parseBody } from '../openai/fields.ts'
import { requireModel } from '../served-model.ts'
import { jsonOf, type Routes, type ServerContext } from './context.ts'

export function tokenRoutes(app: Routes, { served, limits }: ServerContext): void {
  const { tokenizer, engine } = served
  const { messages } = chatSchema(limits).shape
  const tokenizeSchema = z.strictObject({
    model: z.string().optional(),
    prompt: z.string().optional(),
    messages: messages.optional(),
    add_special_tokens: z.boolean().optional(),
  })
  const detokenizeSchema = z.strictObject({
    model: z.string().optional(),
    tokens: z.array(
      z
        .int()
        .nonnegative()
        .max(tokenizer.vocabSize - 1),
    ),
  })

  app.post('/tokenize', async c => {
    const request = parseBody(tokenizeSchema, await jsonOf(c))
    requireModel(served, request.model)
    const { prompt, messages, add_special_tokens } = request
    if ((prompt === undefined) === (messages === undefined))
      throw wrongField('prompt', 'send either prompt or messages')
    const text = messages ? await chatPrompt(served, { messages }) : (prompt ?? '')
    // A template has written special tokens out.
    const tokens = await tokenizer.encode(text, { addSpecialTokens: add_special_tokens ?? !messages })
    return c.json({ count: tokens.length, max_model_len: engine.facts.context, tokens })
  })

  app.post('/detokenize', async c => {
    const request = parseBody(detokenizeSchema, await jsonOf(c))
    requireModel(served, request.model)
    return c.json({ prompt: tokenizer.decode(request.tokens) })
  })
}
