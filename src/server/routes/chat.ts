// POST /v1/chat/completions

import { randomUUID } from 'node:crypto'
import type { TextEnd } from '../../engine/index.ts'
import { ConfigError } from '../../errors.ts'
import { seedOf } from '../../models/index.ts'
import { wrongField } from '../api-error.ts'
import { eventStream } from '../event-stream.ts'
import { type AnswerPart, collect, extensionOf, type Usage, usageOf } from '../openai/answers.ts'
import { MessageWriter } from '../openai/chat-answer.ts'
import { type ChatRequest, chatSchema } from '../openai/chat-request.ts'
import { type ChatTurn, chatText, chatTurn, mostCalls } from '../openai/chat-turn.ts'
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
    const turn = await chatTurn(served, request)
    const { n = 1, stream = false } = request
    const { seed = 0, ...text } = chatText(request, turn, served.engine.facts.context)
    const requests = Array.from({ length: n }, (_, i) => ({ ...text, seed: seedOf(seed, i) }))
    const parts = ofMessages(writeFor(c, context, served, requests))
    const head = { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: served.id }
    if (stream) return eventStream(chunksOf(parts, request, turn, head, served), c.get('late'))
    return c.json(await completionOf(parts, request, turn, head, served))
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

/** Who writes the message of each answer. */
function writersOf(request: ChatRequest, turn: ChatTurn): MessageWriter[] {
  const { n: length = 1 } = request
  return Array.from({ length }, () => new MessageWriter(turn.read(), mostCalls(request)))
}

function chatUsage(ends: readonly TextEnd[], writers: readonly MessageWriter[], turn: ChatTurn): Usage {
  const reasoning_tokens = writers.reduce((sum, writer) => sum + writer.reasoningTokens, 0)
  return {
    ...usageOf(ends, writers.length),
    ...(turn.hasReasoning && { completion_tokens_details: { reasoning_tokens } }),
  }
}

async function completionOf(
  parts: AsyncGenerator<AnswerPart, void>,
  request: ChatRequest,
  turn: ChatTurn,
  head: Head,
  served: ServedModel,
) {
  const writers = writersOf(request, turn)
  const answers = await collect(watched(parts, writers), writers.length)
  return {
    ...head,
    object: 'chat.completion',
    choices: answers.map((answer, index) => ({
      index,
      message: writers[index]?.message,
      logprobs: chatLogprobs(served.tokenizer, answer.tokens),
      finish_reason: writers[index]?.finishReason(answer.end),
      ...extensionOf(request, answer),
    })),
    usage: chatUsage(
      answers.map(answer => answer.end),
      writers,
      turn,
    ),
  }
}

/** The same parts, from which messages are written on the way. */
async function* watched(
  parts: AsyncGenerator<AnswerPart, void>,
  writers: readonly MessageWriter[],
): AsyncGenerator<AnswerPart, void> {
  for await (const part of parts) {
    writers[part.index]?.push(part)
    yield part
  }
}

/** First the role of each answer, then its pieces, its end, and the usage of all where it is asked for. */
async function* chunksOf(
  parts: AsyncGenerator<AnswerPart, void>,
  request: ChatRequest,
  turn: ChatTurn,
  head: Head,
  { tokenizer }: ServedModel,
): AsyncGenerator<unknown, void> {
  const writers = writersOf(request, turn)
  const hasUsage = request.stream_options?.include_usage === true
  const chunk = (choices: readonly unknown[], usage: unknown = null) => ({
    ...{ ...head, object: 'chat.completion.chunk', choices },
    ...(hasUsage && { usage }),
  })
  const choice = (index: number, delta: object, rest: object = {}) =>
    chunk([{ index, delta, logprobs: null, finish_reason: null, ...rest }])
  const begun = new Set<number>()
  const ends = new Array<TextEnd>(writers.length)
  for await (const part of parts) {
    const { index, tokens, routing, end } = part
    const writer = writers[index] as MessageWriter
    if (!begun.has(index)) yield choice(index, { role: 'assistant', content: '' })
    begun.add(index)
    const logprobs = chatLogprobs(tokenizer, tokens)
    const deltas = writer.push(part)
    // Probabilities come once, with the first piece that their tokens gave, or without any.
    if (logprobs && deltas.length === 0) deltas.push({ content: '' })
    for (const [i, delta] of deltas.entries())
      yield choice(index, delta, { logprobs: i === 0 ? logprobs : null })
    if (routing) yield choice(index, {}, extensionOf(request, { routing }))
    if (end) {
      ends[index] = end
      yield choice(index, {}, { finish_reason: writer.finishReason(end), ...extensionOf(request, { end }) })
    }
  }
  if (hasUsage) yield chunk([], chatUsage(ends, writers, turn))
}
