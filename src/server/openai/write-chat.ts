// One answer without HTTP, for whoever has the engine in the same process.

import type { TextEnd } from '../../engine/index.ts'
import type { ServedModel } from '../served-model.ts'
import { defaultLimits } from '../settings.ts'
import { type MessageDelta, MessageWriter } from './chat-answer.ts'
import { chatSchema } from './chat-request.ts'
import { chatText, chatTurn, mostCalls } from './chat-turn.ts'
import { parseBody } from './fields.ts'

/** A piece of an answer, and at last how it ended. */
export type ChatPiece =
  | { delta: MessageDelta }
  | { end: TextEnd; finishReason: string; reasoningTokens: number }

/**
 * The answer to what /v1/chat/completions takes; whoever stops reading cancels it.
 *
 * @throws ApiError for what the server would refuse
 */
export async function* writeChat(
  served: ServedModel,
  body: unknown,
  signal?: AbortSignal,
): AsyncGenerator<ChatPiece, void> {
  const request = parseBody(chatSchema(defaultLimits), body)
  const turn = await chatTurn(served, request)
  const writer = new MessageWriter(turn.read(), mostCalls(request))
  const text = chatText(request, turn, served.engine.facts.context)
  for await (const part of served.engine.generate({ ...text, signal })) {
    for (const delta of writer.push({ ...part, index: 0 })) yield { delta }
    if (!part.end) continue
    if (part.end.reason === 'aborted') signal?.throwIfAborted()
    const { end } = part
    yield { end, finishReason: writer.finishReason(end), reasoningTokens: writer.reasoningTokens }
  }
}
