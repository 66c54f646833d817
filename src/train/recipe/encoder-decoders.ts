// Encoder-decoders that a recipe makes from nothing: Switch's and NLLB's, by the sizes that their config.json has.

import { z } from 'zod'
import { ConfigError, invariant } from '../../errors.ts'
import {
  type EncoderDecoderModelConfig,
  isEncoderDecoder,
  nllbMoeFields,
  parseAnyConfig,
  switchTransformersFields,
} from '../../models/index.ts'
import type { Vocabulary } from './model-config.ts'
import type { Recipe } from './schema.ts'

const count = z.int().positive()

/** What follows from the tokenizer, and from the recipe's losses and dropout. */
const decided = {
  vocab_size: true,
  pad_token_id: true,
  eos_token_id: true,
  bos_token_id: true,
  decoder_start_token_id: true,
  router_aux_loss_coef: true,
  router_z_loss_coef: true,
} as const

export const switchSchema = z.strictObject({
  type: z.literal('switch_transformers'),
  ...switchTransformersFields.omit({ ...decided, dropout_rate: true }).shape,
  d_model: count,
  d_ff: count,
  num_layers: count,
  num_heads: count,
  /** Default: d_model / num_heads. */
  d_kv: count.optional(),
  /** Default: num_layers. */
  num_decoder_layers: count.optional(),
  /** Default: the tokenizer's. */
  vocab_size: count.optional(),
})

export const nllbSchema = z.strictObject({
  type: z.literal('nllb-moe'),
  ...nllbMoeFields.omit({ ...decided, dropout: true, attention_dropout: true, activation_dropout: true })
    .shape,
  d_model: count,
  encoder_layers: count,
  encoder_ffn_dim: count,
  encoder_attention_heads: count,
  /** Of the decoder, by default as the encoder's. */
  decoder_layers: count.optional(),
  decoder_ffn_dim: count.optional(),
  decoder_attention_heads: count.optional(),
  /** Default: the tokenizer's. */
  vocab_size: count.optional(),
})

export type EncoderDecoderSettings = z.infer<typeof switchSchema> | z.infer<typeof nllbSchema>

/** With what follows from other sizes. */
export function completeSizes(model: EncoderDecoderSettings): EncoderDecoderSettings {
  if (model.type === 'switch_transformers') {
    const { d_model, num_heads, num_layers } = model
    return {
      ...model,
      d_kv: model.d_kv ?? d_model / num_heads,
      num_decoder_layers: model.num_decoder_layers ?? num_layers,
    }
  }
  return {
    ...model,
    decoder_layers: model.decoder_layers ?? model.encoder_layers,
    decoder_ffn_dim: model.decoder_ffn_dim ?? model.encoder_ffn_dim,
    decoder_attention_heads: model.decoder_attention_heads ?? model.encoder_attention_heads,
  }
}

/** What targets begin after: T5's begin with padding, fairseq's with the end of text. */
const startsWith = { switch_transformers: 'pad', 'nllb-moe': 'eos' } as const

/**
 * The config.json of an encoder-decoder with complete sizes.
 *
 * @throws ConfigError for sizes that cannot be, and for a tokenizer that has no end of text
 */
export function encoderDecoderConfig(
  { type, ...fields }: EncoderDecoderSettings,
  { balance, z: zLoss }: Recipe['losses'],
  { bos, eos, pad = eos }: Vocabulary,
): EncoderDecoderModelConfig {
  if (eos === undefined || pad === undefined)
    throw new ConfigError('its tokenizer has no end of text, with which targets are to end', {
      path: 'data.path',
    })
  const config = parseAnyConfig(
    {
      model_type: type,
      ...fields,
      pad_token_id: pad,
      eos_token_id: eos,
      bos_token_id: bos ?? null,
      decoder_start_token_id: { pad, eos }[startsWith[type]],
      router_aux_loss_coef: balance.kind === 'mixtral-hf' ? balance.coefficient : 0,
      router_z_loss_coef: zLoss.coefficient,
    },
    'model',
  )
  invariant(isEncoderDecoder(config), `${type} is an encoder-decoder`)
  return config
}
