// POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients ask.

import { randomUUID } from 'node:crypto'
import type { TextEnd } from '../../engine/index.ts'
import { anthropicError } from '../anthropic/errors.ts'
import {
  type AnthropicPrompt,
  anthropicMessages,
  anthropicSampling,
  anthropicSchema,
  countTokensSchema,
} from '../anthropic/messages-request.ts'
import { type EventWording, eventStream } from '../event-stream.ts'
import { type AnswerPart, collect } from '../openai/answers.ts'
import { parseBody } from '../openai/fields.ts'
import { modelOf, type ServedModel } from '../served-model.ts'
import { chatPrompt, ofMessages } from './chat.ts'
import { jsonOf, type Routes, type ServerContext, writeFor } from './context.ts'

export function messageRoutes(app: Routes, context: ServerContext): void {
  const { models, limits } = context
  const schema = anthropicSchema(limits)
  app.post('/v1/messages', async c => {
    const request = parseBody(schema, await jsonOf(c))
    const served = modelOf(models, request.model)
    const prompt = chatPrompt(served, { messages: anthropicMessages(request) })
    const requests = [{ ...anthropicSampling(request), prompt }]
    const parts = ofMessages(writeFor(c, context, served, requests))
    const head = {
      ...{ id: `msg_${randomUUID()}`, type: 'message', role: 'assistant', model: served.id },
      ...{ stop_reason: null, stop_sequence: null },
    }
    if (request.stream) {
      const input_tokens = await promptTokens(served, request)
      return eventStream(eventsOf(parts, { ...head, input_tokens }), c.get('late'), wording)
    }
    const [answer] = await collect(parts, 1)
    const content = [{ type: 'text', text: answer?.text ?? '' }]
    return c.json({ ...head, content, ...(answer && endOf(answer.end)) })
  })

  app.post('/v1/messages/count_tokens', async c => {
    const request = parseBody(countTokensSchema, await jsonOf(c))
    return c.json({ input_tokens: await promptTokens(modelOf(models, request.model), request) })
  })
}

/** `event: kind`, then its data; nothing after the last one. */
const wording: EventWording = {
  event: event => `event: ${(event as { type: string }).type}\ndata: ${JSON.stringify(event)}\n\n`,
  error: error => `event: error\ndata: ${JSON.stringify(anthropicError(error))}\n\n`,
  end: '',
}

async function promptTokens(served: ServedModel, request: AnthropicPrompt): Promise<number> {
  const text = chatPrompt(served, { messages: anthropicMessages(request) })
  return (await served.tokenizer.encode(text, { addSpecialTokens: false })).length // the template wrote them out
}

const stopReasons = {
  'end-of-text': 'end_turn',
  'stop-text': 'stop_sequence',
  'max-new-tokens': 'max_tokens',
  positions: 'max_tokens',
  aborted: 'end_turn', // nobody reads it
}

/** Tokens that were there already are counted apart. */
function endOf({ reason, stopText, promptTokens, cachedTokens, newTokens }: TextEnd) {
  return {
    stop_reason: stopReasons[reason],
    stop_sequence: stopText ?? null,
    usage: {
      input_tokens: promptTokens - cachedTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: cachedTokens,
      output_tokens: newTokens,
    },
  }
}

/** The message without its content, one block of text in pieces, and how it ended. */
async function* eventsOf(
  parts: AsyncGenerator<AnswerPart, void>,
  { input_tokens, ...head }: { input_tokens: number },
): AsyncGenerator<unknown, void> {
  const begun = [
    { type: 'message_start', message: { ...head, content: [], usage: { input_tokens, output_tokens: 0 } } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  ]
  for await (const { text, end } of parts) {
    yield* begun.splice(0)
    if (text !== '') yield { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }
    if (!end) continue
    const { usage, ...delta } = endOf(end)
    yield { type: 'content_block_stop', index: 0 }
    yield { type: 'message_delta', delta, usage }
    yield { type: 'message_stop' }
  }
}
