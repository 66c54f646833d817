// Fields that requests share, and how a wrong one is told.

import { z } from 'zod'
import type { TextRequest } from '../../engine/index.ts'
import { issueText } from '../../schema-issue.ts'
import { ApiError, wrongField } from '../api-error.ts'
import type { Limits } from '../settings.ts'

const finite = z.number()

/** Fields that say how tokens are drawn, and how many. */
export const samplingFields = ({ n, stops, stopLength }: Limits) => {
  const stop = z.string().min(1).max(stopLength)
  return {
    model: z.string().optional(),
    max_tokens: z.int().nonnegative().optional(),
    temperature: finite.min(0).max(100).optional(),
    top_p: finite.gt(0).max(1).optional(),
    top_k: z.int().min(-1).optional(),
    min_p: finite.min(0).max(1).optional(),
    typical_p: finite.gt(0).max(1).optional(),
    presence_penalty: finite.min(-2).max(2).optional(),
    frequency_penalty: finite.min(-2).max(2).optional(),
    repetition_penalty: finite.gt(0).optional(),
    logit_bias: z.record(z.string().regex(/^\d+$/), finite.min(-100).max(100)).optional(),
    seed: z.int().optional(),
    n: z.int().min(1).max(n).optional(),
    stop: z
      .union([stop, z.array(stop).max(stops)], {
        error: `must be a text, or at most ${stops}, each of 1 to ${stopLength} characters`,
      })
      .optional(),
    stream: z.boolean().optional(),
    stream_options: z.strictObject({ include_usage: z.boolean().nullish() }).optional(),
    user: z.string().max(1000).optional(),
    switchyard: extensionSchema.optional(),
  }
}

/** A day, in milliseconds. */
const longestDeadline = 86_400_000

/** What no other server has. */
const extensionSchema = z.strictObject({
  experts_per_token: z.int().min(1).nullish(),
  return_routing: z.boolean().nullish(),
  on_miss: z.enum(['read', 'resident']).nullish(),
  deadline_ms: z.int().min(1).max(longestDeadline).nullish(),
})

type SamplingFields = z.infer<z.ZodObject<ReturnType<typeof samplingFields>>>

/** What the engine is asked for; seeds that nobody named are drawn. */
export function samplingOf(fields: SamplingFields): Omit<TextRequest, 'prompt'> {
  const { stop, top_k } = fields
  return {
    ...given({
      maxNewTokens: fields.max_tokens,
      temperature: fields.temperature,
      topP: fields.top_p,
      topK: top_k === -1 ? 0 : top_k, // vLLM's word for all
      minP: fields.min_p,
      typical: fields.typical_p,
      presencePenalty: fields.presence_penalty,
      frequencyPenalty: fields.frequency_penalty,
      repetitionPenalty: fields.repetition_penalty,
      logitBias: fields.logit_bias,
      expertsPerToken: fields.switchyard?.experts_per_token,
      routing: fields.switchyard?.return_routing,
      onMiss: fields.switchyard?.on_miss,
      deadlineMs: fields.switchyard?.deadline_ms,
    }),
    stop: [stop ?? []].flat(),
    seed: fields.seed ?? Math.floor(Math.random() * 2 ** 32),
  }
}

/** Without what is left out. */
function given<T extends Record<string, unknown>>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null)) as {
    [K in keyof T]?: NonNullable<T[K]>
  }
}

/**
 * A request's body by its schema. A field that is null is one that was left out, as clients send them.
 *
 * @throws ApiError that names the first field that is wrong, or that nobody knows here
 */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new ApiError(400, 'the body must be a JSON object', { code: 'invalid_json' })
  const present = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))
  const parsed = schema.safeParse(present)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  if (!issue) throw new ApiError(400, 'the body is wrong')
  throw issue.code === 'unrecognized_keys'
    ? unknownField(issue)
    : wrongField(pathOf(issue.path), problemOf(issue, present))
}

function unknownField({ path, keys }: z.core.$ZodIssueUnrecognizedKeys): ApiError {
  const name = pathOf([...path, keys[0] ?? ''])
  return wrongField(name, 'is not supported here; docs/server.md lists what is', 'unsupported_parameter')
}

/** What is wrong, in one line that does not give back all that was sent. Unions say themselves what they take. */
function problemOf(issue: z.core.$ZodIssue, body: unknown): string {
  const text = issue.code === 'invalid_union' ? issue.message : issueText(issue, body)
  return text.length <= longestProblem ? text : `${text.slice(0, longestProblem)}...`
}

const longestProblem = 200

/** `messages[0].content` */
function pathOf(path: readonly PropertyKey[]): string {
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i > 0 ? '.' : ''}${String(part)}`))
    .join('')
}
