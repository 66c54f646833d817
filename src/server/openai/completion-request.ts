// What /v1/completions takes.

import { z } from 'zod'
import type { TextRequest } from '../../engine/index.ts'
import { wrongField } from '../api-error.ts'
import type { Limits } from '../settings.ts'
import { samplingFields, samplingOf } from './fields.ts'

const ids = z.array(z.int().nonnegative()).min(1)

export const completionSchema = (limits: Limits) =>
  z.strictObject({
    ...samplingFields(limits),
    prompt: z.union(
      [z.string(), ids, z.array(z.string()).min(1).max(limits.texts), z.array(ids).min(1).max(limits.texts)],
      { error: `must be text, token ids, or a list of at most ${limits.texts} of either` },
    ),
    echo: z.boolean().optional(),
    logprobs: z.int().min(0).max(limits.logprobs).optional(),
  })

export type CompletionRequest = z.infer<ReturnType<typeof completionSchema>>

/** The prompts, each text or token ids. @throws ApiError for more answers than may be asked for at once */
export function promptsOf(request: CompletionRequest, limits: Limits): (string | number[])[] {
  const prompts = promptList(request)
  const { n = 1 } = request
  if (prompts.length * n > limits.texts)
    throw wrongField(
      'n',
      `${n} answers to ${prompts.length} prompts are more than ${limits.texts}, which is all that a request may ask for`,
    )
  return prompts
}

function promptList({ prompt }: Pick<CompletionRequest, 'prompt'>): (string | number[])[] {
  if (typeof prompt === 'string') return [prompt]
  return prompt.every(part => typeof part === 'number')
    ? [prompt as number[]]
    : (prompt as (string | number[])[])
}

/** What the engine is asked for. */
export function completionSampling(request: CompletionRequest): Omit<TextRequest, 'prompt'> {
  const { logprobs, echo = false, stream = false } = request
  if (echo && stream) throw wrongField('echo', 'does not go with stream')
  return {
    ...samplingOf(request),
    maxNewTokens: request.max_tokens ?? 16, // OpenAI's default
    ...(logprobs !== undefined && { logprobs }),
    // An echo needs the prompt as the model read it, and its probabilities where they are asked for.
    ...(echo && { promptLogprobs: logprobs ?? 0 }),
  }
}
