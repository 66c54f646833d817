// An answer in the words of /v1/responses, at each point of its life.

import { randomUUID } from 'node:crypto'
import type { Segment, SegmentEvent } from '../segments.ts'
import { isWhole } from './answers.ts'
import type { RequestMessage } from './chat-messages.ts'
import type { ResponsesRequest } from './responses-request.ts'

type Ending = Omit<Extract<SegmentEvent, { kind: 'end' }>, 'kind'>

export interface ResponseBody {
  id: string
  status: 'in_progress' | 'completed' | 'incomplete'
  [field: string]: unknown
}

export class ResponseAnswer {
  readonly #head: { id: string; [field: string]: unknown }
  readonly #ids = new Map<Segment, string>()

  constructor(request: ResponsesRequest, model: string) {
    const { instructions = null, previous_response_id = null, max_output_tokens = null } = request
    this.#head = {
      ...{ id: `resp_${randomUUID()}`, object: 'response', created_at: Math.floor(Date.now() / 1000), model },
      ...{ instructions, previous_response_id, max_output_tokens },
      ...{ temperature: request.temperature ?? 1, top_p: request.top_p ?? 1 },
      ...{ metadata: request.metadata ?? {}, store: request.store ?? true, error: null },
      ...{ text: request.text ?? { format: { type: 'text' } }, truncation: 'disabled' },
      ...{ tools: request.tools ?? [], tool_choice: request.tool_choice ?? 'auto' },
      ...{ parallel_tool_calls: request.parallel_tool_calls ?? true, reasoning: request.reasoning ?? null },
    }
  }

  begun(): ResponseBody {
    return { ...this.#head, status: 'in_progress', incomplete_details: null, output: [], usage: null }
  }

  ended(segments: readonly Segment[], { end, reasoningTokens }: Ending): ResponseBody {
    const { promptTokens, cachedTokens, newTokens } = end
    const status = isWhole(end) ? 'completed' : 'incomplete'
    const last = segments.length - 1
    return {
      ...this.#head,
      status,
      incomplete_details: isWhole(end) ? null : { reason: 'max_output_tokens' },
      output: segments.map((segment, i) => this.item(segment, i === last ? status : 'completed')),
      usage: {
        input_tokens: promptTokens,
        input_tokens_details: { cached_tokens: cachedTokens },
        output_tokens: newTokens,
        output_tokens_details: { reasoning_tokens: reasoningTokens },
        total_tokens: promptTokens + newTokens,
      },
    }
  }

  idOf(segment: Segment): string {
    const known = this.#ids.get(segment)
    if (known) return known
    const id = `${{ text: 'msg', reasoning: 'rs', call: 'fc' }[segment.kind]}_${randomUUID()}`
    this.#ids.set(segment, id)
    return id
  }

  /** A segment as it is now. */
  item(segment: Segment, status: ResponseBody['status']): object {
    const { kind, name, text, id: call_id } = segment
    const id = this.idOf(segment)
    const isBegun = status === 'in_progress'
    if (kind === 'call')
      return { id, type: 'function_call', status, call_id, name, arguments: isBegun ? '' : text }
    if (kind === 'text')
      return { id, type: 'message', role: 'assistant', status, content: isBegun ? [] : [partOf(segment)] }
    return { id, type: 'reasoning', status, summary: [], content: isBegun ? [] : [partOf(segment)] }
  }
}

/** What is within an item, but for calls. */
export const partOf = ({ kind, text }: Pick<Segment, 'kind' | 'text'>): object =>
  kind === 'text'
    ? { type: 'output_text', text, annotations: [], logprobs: [] }
    : { type: 'reasoning_text', text }

/** The answer as a message of the conversation that goes on. What it thought is left out. */
export function answeredMessage(segments: readonly Segment[]): RequestMessage {
  const tool_calls = segments.flatMap(({ kind, id, name, text }) =>
    kind === 'call' ? [{ id, type: 'function' as const, function: { name, arguments: text } }] : [],
  )
  const content = segments.flatMap(({ kind, text }) => (kind === 'text' ? text : [])).join('')
  return { role: 'assistant', content, ...(tool_calls.length > 0 && { tool_calls }) }
}
