// Reading config.json: HF's field names, checked, with the spellings of transformers 4 and 5 both understood.

import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { issueText } from '../schema-issue.ts'

/** What every decoder-only transformer here has. Names are HF's. */
export interface DecoderConfig {
  vocab_size: number
  hidden_size: number
  intermediate_size: number
  num_hidden_layers: number
  num_attention_heads: number
  num_key_value_heads: number
  head_dim: number
  max_position_embeddings: number
  rms_norm_eps: number
  rope_theta: number
  /** Positions a query looks back on, itself included; null: all. */
  sliding_window: number | null
  tie_word_embeddings: boolean
  initializer_range: number
  pad_token_id: number | null
  bos_token_id: number | null
  /** Several where any of them ends a text. */
  eos_token_id: number | number[] | null
}

/** What HF takes for a field that config.json leaves out. Differs by model type. */
export type DecoderDefaults = Pick<
  DecoderConfig,
  'num_key_value_heads' | 'max_position_embeddings' | 'rms_norm_eps' | 'rope_theta' | 'sliding_window'
>

const size = z
  .int()
  .positive()
  .max(2 ** 31)
const tokenId = z.int().nonnegative()

/** The fields of a decoder's config.json. */
const decoderFields = z.looseObject({
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size.max(10_000),
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  max_position_embeddings: size.optional(),
  rms_norm_eps: z.number().nonnegative().optional(),
  rope_theta: z.number().positive().nullish(),
  rope_parameters: z.looseObject({ rope_theta: z.number().positive().nullish() }).nullish(),
  sliding_window: size.nullish(),
  tie_word_embeddings: z.boolean().default(false),
  initializer_range: z.number().positive().default(0.02),
  pad_token_id: tokenId.nullish(),
  bos_token_id: tokenId.nullable().default(1),
  eos_token_id: z
    .union([tokenId, z.array(tokenId)])
    .nullable()
    .default(2),
})

/** Fields that change the computation, with the only values that are computed here. */
const fixedFields: Record<string, readonly unknown[]> = {
  hidden_act: ['silu', null, undefined],
  attention_dropout: [0, null, undefined],
  attention_bias: [false, null, undefined],
  mlp_bias: [false, null, undefined],
  rope_scaling: [null, undefined],
  quantization_config: [null, undefined],
}

/**
 * The decoder part of a parsed config.json.
 *
 * @param source names the file in errors
 * @throws ConfigError naming the field, its value and what is possible
 */
export function parseDecoderConfig(json: unknown, source: string, defaults: DecoderDefaults): DecoderConfig {
  const fields = check(decoderFields, json, source)
  refuseUnsupported(fields, source)
  const heads = fields.num_attention_heads
  const config: DecoderConfig = {
    vocab_size: fields.vocab_size,
    hidden_size: fields.hidden_size,
    intermediate_size: fields.intermediate_size,
    num_hidden_layers: fields.num_hidden_layers,
    num_attention_heads: heads,
    // HF: left out is the type's default, null is one per head.
    num_key_value_heads:
      (fields.num_key_value_heads === undefined
        ? defaults.num_key_value_heads
        : fields.num_key_value_heads) ?? heads,
    head_dim: fields.head_dim ?? fields.hidden_size / heads,
    max_position_embeddings: fields.max_position_embeddings ?? defaults.max_position_embeddings,
    rms_norm_eps: fields.rms_norm_eps ?? defaults.rms_norm_eps,
    rope_theta: fields.rope_parameters?.rope_theta ?? fields.rope_theta ?? defaults.rope_theta,
    sliding_window: fields.sliding_window === undefined ? defaults.sliding_window : fields.sliding_window,
    tie_word_embeddings: fields.tie_word_embeddings,
    initializer_range: fields.initializer_range,
    pad_token_id: fields.pad_token_id ?? null,
    bos_token_id: fields.bos_token_id,
    eos_token_id: fields.eos_token_id,
  }
  refuseImpossibleHeads(config, source)
  return config
}

/** Parses with a schema; the first problem becomes a ConfigError. */
export function check<T>(schema: z.ZodType<T>, json: unknown, source: string): T {
  const result = schema.safeParse(json)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const problem = issue ? `${issue.path.join('.')}: ${issueText(issue, json)}` : 'not a valid configuration'
  throw new ConfigError(problem, { path: source })
}

function refuseUnsupported(fields: Record<string, unknown>, source: string): void {
  for (const [name, allowed] of Object.entries(fixedFields)) {
    if (allowed.includes(fields[name])) continue
    throw new ConfigError(
      `${name} = ${JSON.stringify(fields[name])} is not supported; it must be ${JSON.stringify(allowed[0])}`,
      {
        path: source,
      },
    )
  }
  const ropeType = (fields.rope_parameters as { rope_type?: unknown } | null | undefined)?.rope_type
  if (ropeType !== undefined && ropeType !== 'default') {
    throw new ConfigError(
      `rope_parameters.rope_type = ${JSON.stringify(ropeType)} is not supported; it must be "default"`,
      {
        path: source,
      },
    )
  }
}

function refuseImpossibleHeads(config: DecoderConfig, source: string): void {
  const { hidden_size, num_attention_heads: heads, num_key_value_heads: groups, head_dim } = config
  if (!Number.isInteger(head_dim)) {
    throw new ConfigError(`hidden_size ${hidden_size} is not divisible by num_attention_heads ${heads}`, {
      path: source,
    })
  }
  if (head_dim % 2 !== 0)
    throw new ConfigError(`head_dim ${head_dim} must be even for rotary embeddings`, { path: source })
  if (heads % groups !== 0) {
    throw new ConfigError(`num_attention_heads ${heads} is not divisible by num_key_value_heads ${groups}`, {
      path: source,
    })
  }
}

/** The fields of config.json that a decoder shares, in the spellings of transformers 4 and 5. */
export function decoderJson(config: DecoderConfig, dtype: string): Record<string, unknown> {
  return {
    ...config,
    hidden_act: 'silu',
    attention_dropout: 0,
    rope_parameters: { rope_theta: config.rope_theta, rope_type: 'default' },
    dtype,
    torch_dtype: dtype,
    use_cache: true,
  }
}
