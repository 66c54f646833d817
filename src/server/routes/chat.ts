// POST /v1/chat/completions

import { randomUUID } from 'node:crypto'
import { ConfigError } from '../../errors.ts'
import { type ChatMessage, renderChat, seedOf } from '../../models/index.ts'
import { ApiError, wrongField } from '../api-error.ts'
import { eventStream } from '../event-stream.ts'
import { type AnswerPart, collect, extensionOf, finishReason, usageOf } from '../openai/answers.ts'
import { type ChatRequest, chatSampling, chatSchema, messagesOf } from '../openai/chat-request.ts'
import { parseBody } from '../openai/fields.ts'
import { chatLogprobs } from '../openai/logprobs.ts'
import { modelOf, type ServedModel } from '../served-model.ts'
import { jsonOf, type Routes, type ServerContext, writeFor } from './context.ts'

export function chatRoutes(app: Routes, context: ServerContext): void {
  const { models, limits } = context
  const schema = chatSchema(limits)
  app.post('/v1/chat/completions', async c => {
    const request = parseBody(schema, await jsonOf(c))
    const served = modelOf(models, request.model)
    const prompt = chatPrompt(served, { messages: messagesOf(request) })
    const { n = 1, stream = false } = request
    const { seed = 0, ...sampling } = chatSampling(request, served.engine.facts.context)
    const requests = Array.from({ length: n }, (_, i) => ({ ...sampling, prompt, seed: seedOf(seed, i) }))
    const parts = ofMessages(writeFor(c, context, served, requests))
    const head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: served.id }
    if (stream) return eventStream(chunksOf(parts, request, head, served), c.get('late'))
    return c.json(await completionOf(parts, request, head, served))
  })
}

/** The same parts; what is wrong with a prompt is wrong with the messages that it was made of. */
export async function* ofMessages(
  parts: AsyncGenerator<AnswerPart, void>,
  field = 'messages',
): AsyncGenerator<AnswerPart, void> {
  try {
    yield* parts
  } catch (error) {
    if (!(error instanceof ConfigError && error.path === 'prompt')) throw error
    throw wrongField(field, `are too long: the prompt ${error.problem}`, 'context_length_exceeded')
  }
}

interface Head {
  id: string
  created: number
  model: string
}

/** The conversation as the model's template writes it. */
export function chatPrompt(
  { template, tokenizer }: ServedModel,
  { messages }: { messages: readonly ChatMessage[] },
): string {
  if (template === null)
    throw new ApiError(400, 'the model has no chat template: use /v1/completions', {
      code: 'no_chat_template',
    })
  const { bos, eos } = tokenizer.specialIds
  const nameOf = (id: number | undefined) => (id === undefined ? undefined : tokenizer.idToToken(id))
  try {
    return renderChat(template, messages, { bos: nameOf(bos), eos: nameOf(eos) }, 'template')
  } catch (error) {
    const { cause } = error as { cause?: Error }
    throw wrongField('messages', `the model's chat template refuses them: ${cause?.message ?? 'it fails'}`)
  }
}

async function completionOf(
  parts: AsyncGenerator<AnswerPart, void>,
  request: ChatRequest,
  head: Head,
  served: ServedModel,
) {
  const { n = 1 } = request
  const answers = await collect(parts, n)
  return {
    ...head,
    object: 'chat.completion',
    choices: answers.map((answer, index) => ({
      index,
      message: { role: 'assistant', content: answer.text, refusal: null },
      logprobs: chatLogprobs(served.tokenizer, answer.tokens),
      finish_reason: finishReason(answer.end),
      ...extensionOf(request, answer),
    })),
    usage: usageOf(
      answers.map(answer => answer.end),
      n,
    ),
  }
}

/** First the role of each answer, then its pieces, its end, and the usage of all where it is asked for. */
async function* chunksOf(
  parts: AsyncGenerator<AnswerPart, void>,
  request: ChatRequest,
  head: Head,
  { tokenizer }: ServedModel,
): AsyncGenerator<unknown, void> {
  const { n = 1, stream_options } = request
  const hasUsage = stream_options?.include_usage === true
  const chunk = (choices: readonly unknown[], usage: unknown = null) => ({
    ...{ ...head, object: 'chat.completion.chunk', choices },
    ...(hasUsage && { usage }),
  })
  const choice = (index: number, delta: object, rest: object = {}) =>
    chunk([{ index, delta, logprobs: null, finish_reason: null, ...rest }])
  const begun = new Set<number>()
  const ends = new Array<NonNullable<AnswerPart['end']>>(n)
  for await (const { index, text, tokens, routing, end } of parts) {
    if (!begun.has(index)) yield choice(index, { role: 'assistant', content: '' })
    begun.add(index)
    const logprobs = chatLogprobs(tokenizer, tokens)
    if (text !== '' || logprobs) yield choice(index, { content: text }, { logprobs })
    if (routing) yield choice(index, {}, extensionOf(request, { routing }))
    if (end) {
      ends[index] = end
      yield choice(index, {}, { finish_reason: finishReason(end), ...extensionOf(request, { end }) })
    }
  }
  if (hasUsage) yield chunk([], usageOf(ends, n))
}
