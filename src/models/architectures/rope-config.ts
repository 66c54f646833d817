// The rotary part of a config.json: `rope_parameters` of transformers 5, `rope_theta` and `rope_scaling` of 4.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import type { RopeScaling } from '../../nn/index.ts'
import { issueText } from '../../schema-issue.ts'

const positive = z.number().positive()
const optional = positive.nullable().default(null)
const divisors = z.array(positive).min(1).max(4096)
const original_max_position_embeddings = positive

const ruleSchema = z.discriminatedUnion('rope_type', [
  z.object({ rope_type: z.literal('default') }),
  z.object({ rope_type: z.literal('linear'), factor: positive }),
  z.object({ rope_type: z.literal('dynamic'), factor: positive, original_max_position_embeddings }),
  z.object({
    rope_type: z.literal('yarn'),
    factor: positive,
    original_max_position_embeddings,
    beta_fast: positive.default(32),
    beta_slow: positive.default(1),
    truncate: z.boolean().default(true),
    attention_factor: optional,
    mscale: z.number().nonnegative().nullable().default(null),
    mscale_all_dim: z.number().nonnegative().nullable().default(null),
  }),
  z.object({
    rope_type: z.literal('longrope'),
    factor: positive,
    original_max_position_embeddings,
    short_factor: divisors,
    long_factor: divisors,
    attention_factor: optional,
    short_mscale: optional,
    long_mscale: optional,
  }),
  z.object({
    rope_type: z.literal('llama3'),
    factor: positive,
    original_max_position_embeddings,
    low_freq_factor: positive,
    high_freq_factor: positive,
  }),
])

const ropeTypes = ruleSchema.options.map(option => option.shape.rope_type.value)

/** Older names of rules. */
const aliases: Record<string, string> = { su: 'longrope' }

/** What a rule needs of the rest of the config. */
interface RopeContext {
  /** R: rotated dimensions. */
  rotaryDim: number
  max_position_embeddings: number
  /** Where some configs keep it, outside of the rule. */
  original_max_position_embeddings?: number | null | undefined
}

/**
 * @param rule `rope_parameters` or `rope_scaling` of the file; null or absent: plain rotation
 * @throws ConfigError naming the field and what is possible
 */
export function parseRopeScaling(rule: unknown, context: RopeContext, source: string): RopeScaling {
  const given = (rule ?? {}) as Record<string, unknown>
  const named = given.rope_type ?? given.type ?? 'default'
  const rope_type = aliases[named as string] ?? named
  if (!(ropeTypes as unknown[]).includes(rope_type)) {
    throw new ConfigError(
      `rope_type = ${JSON.stringify(named)} is not supported; it must be one of ${ropeTypes.join(', ')}`,
      { path: source },
    )
  }
  const filled = { ...given, rope_type, ...derived(given, rope_type, context) }
  const result = ruleSchema.safeParse(filled)
  if (!result.success) {
    const [issue] = result.error.issues
    const problem = issue ? `${issue.path.join('.')}: ${issueText(issue, filled)}` : 'not valid'
    throw new ConfigError(`rope_type ${rope_type}: ${problem}`, { path: source })
  }
  refuseWrongCount(result.data, context.rotaryDim, source)
  return result.data
}

/** Fields that follow from the rest of the config, as in transformers. */
function derived(given: Record<string, unknown>, rope_type: unknown, context: RopeContext): object {
  const { max_position_embeddings: positions } = context
  if (rope_type === 'dynamic') return { original_max_position_embeddings: positions }
  const original =
    given.original_max_position_embeddings ?? context.original_max_position_embeddings ?? positions
  const isRatio = (rope_type === 'yarn' || rope_type === 'longrope') && typeof original === 'number'
  const factor = given.factor ?? (isRatio ? positions / original : undefined)
  return { original_max_position_embeddings: original, factor }
}

function refuseWrongCount(scaling: RopeScaling, rotaryDim: number, source: string): void {
  if (scaling.rope_type !== 'longrope') return
  for (const name of ['short_factor', 'long_factor'] as const) {
    if (scaling[name].length === rotaryDim / 2) continue
    throw new ConfigError(
      `${name} has ${scaling[name].length} numbers, but there are ${rotaryDim / 2} rotary frequencies`,
      { path: source },
    )
  }
}

/** The rotary part of a config.json, in the spellings of transformers 5 and 4. */
export function ropeJson(
  rope_theta: number,
  { rope_type, ...rest }: RopeScaling,
  partial_rotary_factor: number,
): Record<string, unknown> {
  return {
    partial_rotary_factor,
    rope_theta,
    rope_scaling: rope_type === 'default' ? null : { rope_type, type: rope_type, ...rest },
    rope_parameters: { rope_theta, rope_type, partial_rotary_factor, ...rest },
  }
}
