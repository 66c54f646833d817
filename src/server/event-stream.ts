// Server-sent events: lines and an empty one for each.

import { type ApiError, internalError, knownError } from './api-error.ts'

/** How an API says its events. */
export interface EventWording {
  event(event: unknown): string
  error(error: ApiError): string
  /** What follows the last one. */
  end: string
}

/** `data: {...}`, and `data: [DONE]` at the end. */
export const openaiWording: EventWording = {
  event: event => `data: ${JSON.stringify(event)}\n\n`,
  error: ({ body }) => `data: ${JSON.stringify(body)}\n\n`,
  end: 'data: [DONE]\n\n',
}

/** `event: type`, then its data; nothing after the last one. @param failure an error as an event, whose type is error */
export const namedWording = (failure: (error: ApiError) => object): EventWording => {
  const event = (data: unknown): string =>
    `event: ${(data as { type: string }).type}\ndata: ${JSON.stringify(data)}\n\n`
  return { event, error: error => event(failure(error)), end: '' }
}

/** Is told what happens after the status was sent. */
export interface StreamListener {
  onError(error: unknown): void
  /** All was given out, or nobody reads any more. */
  onEnd(): void
}

/**
 * A response that gives events as its reader takes them. An error after the first event is an event, as the status has been
 * sent by then; one before it is thrown.
 */
export async function eventStream(
  events: AsyncGenerator<unknown, void>,
  listener: StreamListener,
  wording: EventWording = openaiWording,
): Promise<Response> {
  const first = await events.next()
  const all = (async function* () {
    if (!first.done) yield first.value
    yield* events
  })()
  return new Response(streamOf(linesOf(all, listener, wording)), {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no', // proxies would hold events back
    },
  })
}

async function* linesOf(
  events: AsyncGenerator<unknown, void>,
  { onError, onEnd }: StreamListener,
  wording: EventWording,
): AsyncGenerator<string, void> {
  try {
    for await (const event of events) yield wording.event(event)
    yield wording.end
  } catch (error) {
    onError(error)
    yield wording.error(knownError(error) ?? internalError())
  } finally {
    onEnd()
  }
}

/** Reads on only when its reader is ready for more; when that has gone, the lines end. */
function streamOf(lines: AsyncGenerator<string, void>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await lines.next()
      if (done) controller.close()
      else controller.enqueue(encoder.encode(value))
    },
    async cancel() {
      await lines.return()
    },
  })
}
