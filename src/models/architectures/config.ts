// Reading config.json: HF's field names, checked, with the spellings of transformers 4 and 5 both understood.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import type { Activation } from '../../nn/index.ts'
import { issueText } from '../../schema-issue.ts'
import { type DecoderConfig, rotaryDimOf } from '../stack/config.ts'
import { parseRopeScaling, ropeJson } from './rope-config.ts'

/** What HF takes for a field that config.json leaves out. Differs by model type. */
export interface DecoderDefaults
  extends Pick<DecoderConfig, 'max_position_embeddings' | 'rms_norm_eps' | 'rope_theta' | 'sliding_window'> {
  /** Null: as many as num_attention_heads. */
  num_key_value_heads: number | null
  /** Default: hidden_size / num_attention_heads. */
  head_dim?: number
  attention_bias?: boolean
  partial_rotary_factor?: number
  tie_word_embeddings?: boolean
  /** Fields that have one computed value in this type, beside those of all types. */
  fixed?: FixedFields
}

/** HF's names of non-linearities. */
const activations: Record<string, Activation> = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_new: 'gelu-tanh',
  gelu_pytorch_tanh: 'gelu-tanh',
  relu: 'relu',
}

const hfActivations: Record<Activation, string> = {
  silu: 'silu',
  gelu: 'gelu',
  'gelu-tanh': 'gelu_pytorch_tanh',
  relu: 'relu',
}

const size = z
  .int()
  .positive()
  .max(2 ** 31)
const tokenId = z.int().nonnegative()

const share = z.number().positive().max(1)
const ropeRule = z.looseObject({
  rope_theta: z.number().positive().nullish(),
  partial_rotary_factor: share.nullish(),
})

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
  hidden_act: z.string().nullish(),
  attention_bias: z.boolean().nullish(),
  rope_theta: z.number().positive().nullish(),
  rope_parameters: ropeRule.nullish(),
  rope_scaling: ropeRule.nullish(),
  original_max_position_embeddings: size.nullish(),
  partial_rotary_factor: share.nullish(),
  /** 0 stands for none too. */
  sliding_window: z.int().nonnegative().nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  initializer_range: z.number().positive().default(0.02),
  pad_token_id: tokenId.nullish(),
  bos_token_id: tokenId.nullable().default(1),
  eos_token_id: z
    .union([tokenId, z.array(tokenId)])
    .nullable()
    .default(2),
})

/** Fields that change the computation, with the only values that are computed here. */
const fixedFields: FixedFields = {
  attention_dropout: [0],
  mlp_bias: [false],
}

/** Values that fields may have, if they are there and not null. */
export type FixedFields = Readonly<Record<string, readonly unknown[]>>

/**
 * The decoder part of a parsed config.json.
 *
 * @param source names the file in errors
 * @throws ConfigError naming the field, its value and what is possible
 */
export function parseDecoderConfig(json: unknown, source: string, defaults: DecoderDefaults): DecoderConfig {
  const fields = check(decoderFields, json, source)
  refuseUnsupported(fields, { ...fixedFields, ...defaults.fixed }, source)
  refuseQuantized(fields.quantization_config, source)
  const heads = fields.num_attention_heads
  const head_dim = fields.head_dim ?? defaults.head_dim ?? fields.hidden_size / heads
  const max_position_embeddings = fields.max_position_embeddings ?? defaults.max_position_embeddings
  const rope = fields.rope_parameters ?? fields.rope_scaling
  const partial =
    rope?.partial_rotary_factor ?? fields.partial_rotary_factor ?? defaults.partial_rotary_factor ?? 1
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
    head_dim,
    max_position_embeddings,
    rms_norm_eps: fields.rms_norm_eps ?? defaults.rms_norm_eps,
    hidden_act: activationOf(fields.hidden_act ?? 'silu', source),
    attention_bias: fields.attention_bias ?? defaults.attention_bias ?? false,
    rope_theta: rope?.rope_theta ?? fields.rope_theta ?? defaults.rope_theta,
    rope_scaling: parseRopeScaling(
      rope,
      {
        rotaryDim: Math.trunc(head_dim * partial),
        max_position_embeddings,
        original_max_position_embeddings: fields.original_max_position_embeddings,
      },
      source,
    ),
    partial_rotary_factor: partial,
    sliding_window:
      (fields.sliding_window === undefined ? defaults.sliding_window : fields.sliding_window) || null,
    tie_word_embeddings: fields.tie_word_embeddings ?? defaults.tie_word_embeddings ?? false,
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

/** Throws ConfigError for a field whose value changes the computation in a way that is not computed here. */
export function refuseUnsupported(json: unknown, fixed: FixedFields, source: string): void {
  const fields = json as Record<string, unknown>
  for (const [name, allowed] of Object.entries(fixed)) {
    const value = fields[name] ?? undefined
    if (value === undefined || allowed.includes(value)) continue
    const values = allowed.map(one => JSON.stringify(one)).join(' or ')
    throw new ConfigError(`${name} = ${JSON.stringify(value)} is not supported; it must be ${values}`, {
      path: source,
    })
  }
}

/** HF's name of a non-linearity. */
export function activationOf(name: string, source: string): Activation {
  const activation = Object.hasOwn(activations, name) ? activations[name] : undefined
  if (activation) return activation
  const known = Object.keys(activations).join(', ')
  throw new ConfigError(`hidden_act = ${JSON.stringify(name)} is not one of ${known}`, { path: source })
}

/** What activationOf() reads. */
export const hfActivation = (activation: Activation): string => hfActivations[activation]

/** Ways of quantization that are read: weights are widened when they are loaded. */
const quantMethods = ['fp8', 'mxfp4']

function refuseQuantized(config: unknown, source: string): void {
  if (config === null || config === undefined) return
  const method = (config as { quant_method?: unknown }).quant_method
  if (quantMethods.includes(method as string)) return
  throw new ConfigError(
    `quantization_config.quant_method = ${JSON.stringify(method)} cannot be read; it must be one of ${quantMethods.join(', ')}`,
    { path: source },
  )
}

function refuseImpossibleHeads(config: DecoderConfig, source: string): void {
  const { hidden_size, num_attention_heads: heads, num_key_value_heads: groups, head_dim } = config
  if (!Number.isInteger(head_dim)) {
    throw new ConfigError(`hidden_size ${hidden_size} is not divisible by num_attention_heads ${heads}`, {
      path: source,
    })
  }
  const rotated = rotaryDimOf(config)
  if (rotated < 2 || rotated % 2 !== 0) {
    const part = rotated === head_dim ? '' : ` times partial_rotary_factor ${config.partial_rotary_factor}`
    throw new ConfigError(`head_dim ${head_dim}${part} must be even for rotary embeddings`, { path: source })
  }
  if (heads % groups !== 0) {
    throw new ConfigError(`num_attention_heads ${heads} is not divisible by num_key_value_heads ${groups}`, {
      path: source,
    })
  }
}

/** The fields of config.json that a decoder shares, in the spellings of transformers 4 and 5. */
export function decoderJson(config: DecoderConfig, dtype: string): Record<string, unknown> {
  const { rope_theta, rope_scaling, partial_rotary_factor, ...fields } = config
  return {
    ...fields,
    hidden_act: hfActivation(config.hidden_act),
    attention_dropout: 0,
    ...ropeJson(rope_theta, rope_scaling, partial_rotary_factor),
    dtype,
    torch_dtype: dtype,
    use_cache: true,
  }
}
