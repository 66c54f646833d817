// POST /v1/responses, and GET and DELETE of what it has answered.

import { randomUUID } from 'node:crypto'
import type { TextEnd } from '../../engine/index.ts'
import type { ChatMessage } from '../../models/index.ts'
import { ApiError, wrongField } from '../api-error.ts'
import { type EventWording, eventStream } from '../event-stream.ts'
import { type AnswerPart, collect } from '../openai/answers.ts'
import { parseBody } from '../openai/fields.ts'
import { KeptResponses } from '../openai/kept-responses.ts'
import {
  inputMessages,
  type ResponsesRequest,
  responsesSampling,
  responsesSchema,
} from '../openai/responses-request.ts'
import { modelOf } from '../served-model.ts'
import { chatPrompt, ofMessages } from './chat.ts'
import { jsonOf, type Routes, type ServerContext, writeFor } from './context.ts'

export function responseRoutes(app: Routes, context: ServerContext): void {
  const kept = new KeptResponses()
  app.post('/v1/responses', async c => {
    const request = parseBody(responsesSchema, await jsonOf(c))
    const served = modelOf(context.models, request.model)
    const { key } = c.get('record')
    const messages = [...earlierMessages(kept, request, key), ...inputMessages(request)]
    const { instructions, stream = false, store = true } = request
    const system: ChatMessage[] =
      instructions === undefined ? [] : [{ role: 'system', content: instructions }]
    const prompt = chatPrompt(served, { messages: [...system, ...messages] })
    const requests = [{ ...responsesSampling(request, served.engine.facts.context), prompt }]
    const parts = ofMessages(writeFor(c, context, served, requests), 'input')
    const response = new AnswerOfRequest(request, served.id)
    const keep = (text: string, body: { id: string }): void => {
      const all: ChatMessage[] = [...messages, { role: 'assistant', content: text }]
      if (store) kept.keep({ key, messages: all, body })
    }
    if (stream) return eventStream(eventsOf(parts, response, keep), c.get('late'), wording)
    const [answer] = await collect(parts, 1)
    const body = response.ended(answer?.text ?? '', (answer as { end: TextEnd }).end)
    keep(answer?.text ?? '', body)
    return c.json(body)
  })

  app.get('/v1/responses/:id', c => {
    const { id } = c.req.param()
    const found = kept.find(id, c.get('record').key)
    if (!found) throw unknownResponse(id, null)
    return c.json(found.body)
  })

  app.delete('/v1/responses/:id', c => {
    const { id } = c.req.param()
    if (!kept.delete(id, c.get('record').key)) throw unknownResponse(id, null)
    return c.json({ id, object: 'response', deleted: true })
  })
}

function earlierMessages(
  kept: KeptResponses,
  { previous_response_id: id }: ResponsesRequest,
  key: string,
): readonly ChatMessage[] {
  if (id === undefined) return []
  const found = kept.find(id, key)
  if (!found) throw unknownResponse(id, 'previous_response_id')
  return found.messages
}

function unknownResponse(id: string, param: string | null): ApiError {
  const problem = `'${id}' is not kept here, or not any more: send the whole conversation`
  if (param !== null) return wrongField(param, problem, 'previous_response_not_found')
  return new ApiError(404, problem, { code: 'not_found' })
}

/** One answer in the words of this API, at each point of its life. */
class AnswerOfRequest {
  readonly #head: object
  readonly #item = { id: `msg_${randomUUID()}`, type: 'message', role: 'assistant' }
  readonly id = `resp_${randomUUID()}`

  constructor(request: ResponsesRequest, model: string) {
    const { instructions = null, previous_response_id = null, max_output_tokens = null } = request
    this.#head = {
      ...{ id: this.id, object: 'response', created_at: Math.floor(Date.now() / 1000), model },
      ...{ instructions, previous_response_id, max_output_tokens },
      ...{ temperature: request.temperature ?? 1, top_p: request.top_p ?? 1 },
      ...{ metadata: request.metadata ?? {}, store: request.store ?? true, error: null },
      ...{ text: { format: { type: 'text' } }, truncation: 'disabled' },
      ...{ tools: [], tool_choice: 'auto', parallel_tool_calls: false },
    }
  }

  get itemId(): string {
    return this.#item.id
  }

  begun(): { id: string } {
    const rest = { status: 'in_progress', incomplete_details: null, output: [], usage: null }
    return { id: this.id, ...this.#head, ...rest }
  }

  emptyItem(): object {
    return { ...this.#item, status: 'in_progress', content: [] }
  }

  part(text: string): object {
    return { type: 'output_text', text, annotations: [] }
  }

  item(text: string, end: TextEnd): object {
    return { ...this.#item, status: isWhole(end) ? 'completed' : 'incomplete', content: [this.part(text)] }
  }

  ended(text: string, end: TextEnd): { id: string; status: string; [field: string]: unknown } {
    const { promptTokens, cachedTokens, newTokens } = end
    return {
      ...{ id: this.id, ...this.#head },
      status: isWhole(end) ? 'completed' : 'incomplete',
      incomplete_details: isWhole(end) ? null : { reason: 'max_output_tokens' },
      output: [this.item(text, end)],
      usage: {
        input_tokens: promptTokens,
        input_tokens_details: { cached_tokens: cachedTokens },
        output_tokens: newTokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: promptTokens + newTokens,
      },
    }
  }
}

const isWhole = ({ reason }: TextEnd): boolean => reason === 'end-of-text' || reason === 'stop-text'

/** `event: kind`, then its data. */
const wording: EventWording = {
  event: event => `event: ${(event as { type: string }).type}\ndata: ${JSON.stringify(event)}\n\n`,
  error: ({ code, message, param }) =>
    `event: error\ndata: ${JSON.stringify({ type: 'error', code, message, param })}\n\n`,
  end: '',
}

/** The answer as it begins, its one message in pieces, and all of it once more. */
async function* eventsOf(
  parts: AsyncGenerator<AnswerPart, void>,
  response: AnswerOfRequest,
  keep: (text: string, body: { id: string }) => void,
): AsyncGenerator<unknown, void> {
  let sequence_number = 0
  const event = (type: string, data: object): object => ({
    type,
    sequence_number: sequence_number++,
    ...data,
  })
  const ofItem = { item_id: response.itemId, output_index: 0, content_index: 0 }
  const begun = [
    event('response.created', { response: response.begun() }),
    event('response.in_progress', { response: response.begun() }),
    event('response.output_item.added', { output_index: 0, item: response.emptyItem() }),
    event('response.content_part.added', { ...ofItem, part: response.part('') }),
  ]
  let all = ''
  for await (const { text, end } of parts) {
    yield* begun.splice(0)
    all += text
    if (text !== '') yield event('response.output_text.delta', { ...ofItem, delta: text, logprobs: [] })
    if (!end) continue
    yield event('response.output_text.done', { ...ofItem, text: all, logprobs: [] })
    yield event('response.content_part.done', { ...ofItem, part: response.part(all) })
    yield event('response.output_item.done', { output_index: 0, item: response.item(all, end) })
    const body = response.ended(all, end)
    keep(all, body)
    yield event(`response.${body.status}`, { response: body })
  }
}
