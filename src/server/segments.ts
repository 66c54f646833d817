// An answer as a row of segments: reasoning, text, calls of functions. APIs that have blocks or items send each of them apart.

import type { TextEnd } from '../engine/index.ts'
import { type AnswerPart, isWhole } from './openai/answers.ts'
import type { MessageDelta, MessageWriter } from './openai/chat-answer.ts'

export interface Segment {
  kind: 'reasoning' | 'text' | 'call'
  /** Of calls. */
  id: string
  name: string
  /** All of it so far; of a call, its arguments. */
  text: string
}

export type SegmentEvent =
  | { kind: 'open'; index: number; segment: Segment }
  /** `isCut`: the answer ended within it, before its own end. */
  | { kind: 'close'; index: number; segment: Segment; isCut: boolean }
  | { kind: 'piece'; index: number; segment: Segment; text: string }
  | { kind: 'end'; end: TextEnd; isCalling: boolean; reasoningTokens: number }

/** Segments as they come; each is closed before the next is opened. */
export async function* segmentsOf(
  parts: AsyncIterable<AnswerPart>,
  writer: MessageWriter,
): AsyncGenerator<SegmentEvent, void> {
  let segment: Segment | null = null
  let index = -1
  for await (const part of parts) {
    for (const { kind, text, begins } of writer.push(part).map(pieceOf)) {
      if (segment === null || segment.kind !== kind || begins) {
        if (segment) yield { kind: 'close', index, segment, isCut: false }
        segment = { kind, text: '', id: begins?.id ?? '', name: begins?.name ?? '' }
        yield { kind: 'open', index: ++index, segment }
      }
      segment.text += text
      if (text !== '') yield { kind: 'piece', index, segment, text }
    }
    if (!part.end) continue
    if (segment) yield { kind: 'close', index, segment, isCut: !isWhole(part.end) }
    const isCalling = writer.finishReason(part.end) === 'tool_calls'
    yield { kind: 'end', end: part.end, isCalling, reasoningTokens: writer.reasoningTokens }
  }
}

interface Piece {
  kind: Segment['kind']
  text: string
  /** Where a call begins. */
  begins: { id: string; name: string } | null
}

function pieceOf({ content, reasoning_content, tool_calls }: MessageDelta): Piece {
  const [call] = tool_calls ?? []
  if (call) {
    const { id, function: called } = call
    return {
      kind: 'call',
      text: called.arguments,
      begins: id === undefined ? null : { id, name: called.name ?? '' },
    }
  }
  const isContent = content !== undefined
  return { kind: isContent ? 'text' : 'reasoning', text: content ?? reasoning_content ?? '', begins: null }
}

/** All of an answer, once it has ended. */
export async function wholeAnswer(events: AsyncIterable<SegmentEvent>) {
  const segments: Segment[] = []
  let last: Extract<SegmentEvent, { kind: 'end' }> | null = null
  for await (const event of events) {
    if (event.kind === 'close') segments.push(event.segment)
    if (event.kind === 'end') last = event
  }
  return { segments, ...(last as NonNullable<typeof last>) }
}
