// What /v1/embeddings takes.

import { z } from 'zod'
import type { TextRequest } from '../../engine/index.ts'

/** As OpenAI's API has it. */
const mostInputs = 2048

const text = z.string().min(1)
const ids = z.array(z.int().nonnegative()).min(1)

export const embeddingSchema = z.strictObject({
  model: z.string().optional(),
  input: z.union([text, ids, z.array(text).min(1).max(mostInputs), z.array(ids).min(1).max(mostInputs)], {
    error: `must be text, token ids, or a list of at most ${mostInputs} of either, none of them empty`,
  }),
  encoding_format: z.enum(['float', 'base64']).optional(),
  user: z.string().max(1000).optional(),
})

/** What the engine is asked for: of each input, to be read alone. */
export function embeddingTexts({ input }: Pick<z.infer<typeof embeddingSchema>, 'input'>): TextRequest[] {
  const isOne = typeof input === 'string' || typeof input[0] === 'number'
  const prompts = (isOne ? [input] : input) as (string | number[])[]
  return prompts.map(prompt => ({ prompt, maxNewTokens: 0, embedding: true }))
}
