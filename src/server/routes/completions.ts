// POST /v1/completions

import { randomUUID } from 'node:crypto'
import { seedOf } from '../../models/index.ts'
import { eventStream } from '../event-stream.ts'
import {
  type Answer,
  type AnswerPart,
  collect,
  extensionOf,
  finishReason,
  usageOf,
} from '../openai/answers.ts'
import {
  type CompletionRequest,
  completionSampling,
  completionSchema,
  promptsOf,
} from '../openai/completion-request.ts'
import { parseBody } from '../openai/fields.ts'
import { completionLogprobs } from '../openai/logprobs.ts'
import { modelOf, type ServedModel } from '../served-model.ts'
import { jsonOf, type Routes, type ServerContext, writeFor } from './context.ts'

export function completionRoutes(app: Routes, context: ServerContext): void {
  const { models, limits } = context
  const schema = completionSchema(limits)
  app.post('/v1/completions', async c => {
    const request = parseBody(schema, await jsonOf(c))
    const served = modelOf(models, request.model)
    const { n = 1, stream = false } = request
    const { seed = 0, ...sampling } = completionSampling(request)
    const requests = promptsOf(request, limits).flatMap(prompt =>
      Array.from({ length: n }, (_, i) => ({ ...sampling, prompt, seed: seedOf(seed, i) })),
    )
    const parts = writeFor(c, context, served, requests)
    const head = {
      ...{ id: `cmpl-${randomUUID()}`, object: 'text_completion' },
      ...{ created: Math.floor(Date.now() / 1000), model: served.id },
    }
    if (stream) return eventStream(chunksOf(parts, request, requests.length, head, served), c.get('late'))
    const answers = await collect(parts, requests.length)
    return c.json({
      ...head,
      choices: answers.map((answer, index) => choiceOf(answer, index, request, served)),
      usage: usageOf(
        answers.map(({ end }) => end),
        n,
      ),
    })
  })
}

function choiceOf(answer: Answer, index: number, request: CompletionRequest, { tokenizer }: ServedModel) {
  const { text, tokens, prompt, end } = answer
  const { echo = false, logprobs } = request
  const shown = echo ? tokenizer.decode(prompt?.ids ?? [], { skipSpecialTokens: true }) : ''
  return {
    index,
    text: `${shown}${text}`,
    logprobs: logprobs === undefined ? null : completionLogprobs(tokenizer, echo ? prompt : null, tokens),
    finish_reason: finishReason(end),
    ...extensionOf(request, answer),
  }
}

async function* chunksOf(
  parts: AsyncGenerator<AnswerPart, void>,
  request: CompletionRequest,
  count: number,
  head: object,
  { tokenizer }: ServedModel,
): AsyncGenerator<unknown, void> {
  const { n = 1, logprobs, stream_options } = request
  const hasUsage = stream_options?.include_usage === true
  const chunk = (choices: readonly unknown[], usage: unknown = null) => ({
    ...{ ...head, choices },
    ...(hasUsage && { usage }),
  })
  const ends = new Array<NonNullable<AnswerPart['end']>>(count)
  const offsets = new Array<number>(count).fill(0)
  for await (const { index, text, tokens, routing, end } of parts) {
    if (end) ends[index] = end
    const offset = offsets[index] ?? 0
    const details = logprobs === undefined ? null : completionLogprobs(tokenizer, null, tokens, offset)
    offsets[index] = offset + (details?.tokens.join('').length ?? 0)
    const isTold = text !== '' || end || routing || (details && tokens.length > 0)
    const choice = { index, text, logprobs: details, finish_reason: end ? finishReason(end) : null }
    if (isTold) yield chunk([{ ...choice, ...extensionOf(request, { routing, end }) }])
  }
  if (hasUsage) yield chunk([], usageOf(ends, n))
}
