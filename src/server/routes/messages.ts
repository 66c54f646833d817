// POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients ask.

import { randomUUID } from 'node:crypto'
import { anthropicError } from '../anthropic/errors.ts'
import {
  anthropicSchema,
  countTokensSchema,
  promptAsChat,
  requestAsChat,
} from '../anthropic/messages-request.ts'
import { eventStream, namedWording } from '../event-stream.ts'
import { MessageWriter } from '../openai/chat-answer.ts'
import { chatPrompt, chatText, chatTurn, mostCalls } from '../openai/chat-turn.ts'
import { parseBody } from '../openai/fields.ts'
import { type Segment, type SegmentEvent, segmentsOf, wholeAnswer } from '../segments.ts'
import { modelOf, type ServedModel } from '../served-model.ts'
import { ofMessages } from './chat.ts'
import { jsonOf, type Routes, type ServerContext, writeFor } from './context.ts'

export function messageRoutes(app: Routes, context: ServerContext): void {
  const { models, limits } = context
  const schema = anthropicSchema(limits)
  app.post('/v1/messages', async c => {
    const request = parseBody(schema, await jsonOf(c))
    const served = modelOf(models, request.model)
    const chat = requestAsChat(request)
    const turn = await chatTurn(served, chat)
    const text = chatText(chat, turn, served.engine.facts.context)
    const parts = ofMessages(writeFor(c, context, served, [text]))
    const segments = segmentsOf(parts, new MessageWriter(turn.read(), mostCalls(chat)))
    const head = {
      ...{ id: `msg_${randomUUID()}`, type: 'message', role: 'assistant', model: served.id },
      ...{ stop_reason: null, stop_sequence: null },
    }
    if (request.stream) {
      const input_tokens = await tokensOf(served, String(text.prompt))
      return eventStream(eventsOf(segments, { ...head, input_tokens }), c.get('late'), wording)
    }
    const answer = await wholeAnswer(segments)
    return c.json({ ...head, content: answer.segments.map(blockOf), ...endOf(answer) })
  })

  app.post('/v1/messages/count_tokens', async c => {
    const request = parseBody(countTokensSchema, await jsonOf(c))
    const served = modelOf(models, request.model)
    return c.json({ input_tokens: await tokensOf(served, await chatPrompt(served, promptAsChat(request))) })
  })
}

const wording = namedWording(anthropicError)

/** Of a prompt whose special tokens the template wrote out. */
const tokensOf = async ({ tokenizer }: ServedModel, prompt: string): Promise<number> =>
  (await tokenizer.encode(prompt, { addSpecialTokens: false })).length

/** Arguments that a text ended in are none yet. */
function blockOf({ kind, id, name, text }: Segment): object {
  if (kind === 'text') return { type: 'text', text }
  if (kind === 'reasoning') return { type: 'thinking', thinking: text, signature: '' }
  try {
    return { type: 'tool_use', id, name, input: JSON.parse(text) }
  } catch {
    return { type: 'tool_use', id, name, input: {} }
  }
}

const stopReasons = {
  'end-of-text': 'end_turn',
  'stop-text': 'stop_sequence',
  'max-new-tokens': 'max_tokens',
  positions: 'max_tokens',
  deadline: 'max_tokens',
  aborted: 'end_turn', // nobody reads it
}

type Ending = Omit<Extract<SegmentEvent, { kind: 'end' }>, 'kind'>

/** Tokens that were there already are counted apart. */
function endOf({ end, isCalling }: Ending) {
  const { reason, stopText, promptTokens, cachedTokens, newTokens } = end
  return {
    stop_reason: isCalling ? 'tool_use' : stopReasons[reason],
    stop_sequence: isCalling ? null : (stopText ?? null),
    usage: {
      input_tokens: promptTokens - cachedTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: cachedTokens,
      output_tokens: newTokens,
    },
  }
}

const emptyBlocks = {
  text: () => ({ type: 'text', text: '' }),
  reasoning: () => ({ type: 'thinking', thinking: '', signature: '' }),
  call: ({ id, name }: Segment) => ({ type: 'tool_use', id, name, input: {} }),
}
const deltas = {
  text: (text: string) => ({ type: 'text_delta', text }),
  reasoning: (thinking: string) => ({ type: 'thinking_delta', thinking }),
  call: (partial_json: string) => ({ type: 'input_json_delta', partial_json }),
}

/** The message without its content, its blocks in pieces, and how it ended. */
async function* eventsOf(
  segments: AsyncGenerator<SegmentEvent, void>,
  { input_tokens, ...head }: { input_tokens: number },
): AsyncGenerator<unknown, void> {
  const usage = { input_tokens, output_tokens: 0 }
  const begun = [{ type: 'message_start', message: { ...head, content: [], usage } }]
  for await (const event of segments) {
    yield* begun.splice(0)
    if (event.kind === 'end') {
      const { usage, ...delta } = endOf(event)
      yield { type: 'message_delta', delta, usage }
      yield { type: 'message_stop' }
      continue
    }
    const { index, segment } = event
    if (event.kind === 'open')
      yield { type: 'content_block_start', index, content_block: emptyBlocks[segment.kind](segment) }
    else if (event.kind === 'piece')
      yield { type: 'content_block_delta', index, delta: deltas[segment.kind](event.text) }
    else yield { type: 'content_block_stop', index }
  }
}
