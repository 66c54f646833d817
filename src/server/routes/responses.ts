// POST /v1/responses, and GET and DELETE of what it has answered.

import { ApiError, wrongField } from '../api-error.ts'
import { eventStream, namedWording } from '../event-stream.ts'
import { MessageWriter } from '../openai/chat-answer.ts'
import type { RequestMessage } from '../openai/chat-messages.ts'
import { chatText, chatTurn, mostCalls } from '../openai/chat-turn.ts'
import { parseBody } from '../openai/fields.ts'
import { KeptResponses } from '../openai/kept-responses.ts'
import { answeredMessage, partOf, ResponseAnswer, type ResponseBody } from '../openai/response-answer.ts'
import {
  inputMessages,
  type ResponsesRequest,
  responseAsChat,
  responsesSchema,
} from '../openai/responses-request.ts'
import { type Segment, type SegmentEvent, segmentsOf, wholeAnswer } from '../segments.ts'
import { modelOf } from '../served-model.ts'
import { ofMessages } from './chat.ts'
import { jsonOf, type Routes, type ServerContext, writeFor } from './context.ts'

export function responseRoutes(app: Routes, context: ServerContext): void {
  const kept = new KeptResponses()
  app.post('/v1/responses', async c => {
    const request = parseBody(responsesSchema, await jsonOf(c))
    const served = modelOf(context.models, request.model)
    const { key } = c.get('record')
    const messages = [...earlierMessages(kept, request, key), ...inputMessages(request)]
    const chat = responseAsChat(request, messages)
    const turn = await chatTurn(served, chat)
    const text = chatText(chat, turn, served.engine.facts.context)
    const parts = ofMessages(writeFor(c, context, served, [text]), 'input')
    const segments = segmentsOf(parts, new MessageWriter(turn.read(), mostCalls(chat)))
    const answer = new ResponseAnswer(request, served.id)
    const { stream = false, store = true } = request
    const keep = (written: readonly Segment[], body: ResponseBody): void => {
      if (store) kept.keep({ key, messages: [...messages, answeredMessage(written)], body })
    }
    if (stream) return eventStream(eventsOf(segments, answer, keep), c.get('late'), wording)
    const whole = await wholeAnswer(segments)
    const body = answer.ended(whole.segments, whole)
    keep(whole.segments, body)
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
): readonly RequestMessage[] {
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

const wording = namedWording(({ code, message, param }) => ({ type: 'error', code, message, param }))

/** What this API calls pieces of each kind, and their end. */
const pieces = {
  text: 'response.output_text',
  reasoning: 'response.reasoning_text',
  call: 'response.function_call_arguments',
}

/** The answer as it begins, its items in pieces, and all of it once more. */
async function* eventsOf(
  events: AsyncGenerator<SegmentEvent, void>,
  answer: ResponseAnswer,
  keep: (segments: readonly Segment[], body: ResponseBody) => void,
): AsyncGenerator<unknown, void> {
  let sequence_number = 0
  const event = (type: string, data: object): object => ({
    type,
    sequence_number: sequence_number++,
    ...data,
  })
  const begun = ['response.created', 'response.in_progress'].map(type =>
    event(type, { response: answer.begun() }),
  )
  const segments: Segment[] = []
  for await (const each of events) {
    yield* begun.splice(0)
    if (each.kind === 'end') {
      const body = answer.ended(segments, each)
      keep(segments, body)
      yield event(`response.${body.status}`, { response: body })
      continue
    }
    const { segment, index: output_index } = each
    if (each.kind === 'close') segments.push(segment)
    for (const [type, data] of itemEvents(each, answer))
      yield event(type, { item_id: answer.idOf(segment), output_index, ...data })
  }
}

type ItemEvent = Exclude<SegmentEvent, { kind: 'end' }>

function itemEvents(event: ItemEvent, answer: ResponseAnswer): [type: string, data: object][] {
  const { segment } = event
  const name = pieces[segment.kind]
  const within = segment.kind === 'call' ? {} : { content_index: 0 }
  const logprobs = segment.kind === 'text' ? { logprobs: [] } : {}
  if (event.kind === 'piece') return [[`${name}.delta`, { ...within, delta: event.text, ...logprobs }]]
  const all =
    segment.kind === 'call' ? { arguments: segment.text, name: segment.name } : { text: segment.text }
  const part = { ...within, part: partOf(event.kind === 'open' ? { ...segment, text: '' } : segment) }
  const hasPart = segment.kind !== 'call'
  if (event.kind === 'open')
    return [
      ['response.output_item.added', { item: answer.item(segment, 'in_progress') }],
      ...(hasPart ? [['response.content_part.added', part] as [string, object]] : []),
    ]
  return [
    [`${name}.done`, { ...within, ...all, ...logprobs }],
    ...(hasPart ? [['response.content_part.done', part] as [string, object]] : []),
    ['response.output_item.done', { item: answer.item(segment, event.isCut ? 'incomplete' : 'completed') }],
  ]
}
