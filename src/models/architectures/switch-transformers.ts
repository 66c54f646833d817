// Switch Transformers (arXiv:2101.03961): T5 with one expert per token in every other layer, and a fixed capacity.

import { z } from 'zod'
import { fixedCapacityDispatch, PlainMlp, TopKRouter } from '../../moe/index.ts'
import { type Activation, MemoryAttention, RelativePositionBias, RMSNorm } from '../../nn/index.ts'
import type { EncoderDecoderConfig } from '../stack/config.ts'
import type { FeedForward } from '../stack/layers.ts'
import type { Build, EncoderDecoderParts, Side } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { activationOf, check, hfActivation, refuseUnsupported } from './config.ts'
import { dropoutRate, specialTokenFields } from './encoder-decoder.ts'
import { moeBlock } from './moe-block.ts'
import { expertCount, layerNumber, width } from './moe-config.ts'
import { perExpertPieces } from './published-names.ts'

export interface SwitchTransformersConfig extends EncoderDecoderConfig {
  model_type: 'switch_transformers'
  d_kv: number
  d_ff: number
  num_layers: number
  num_decoder_layers: number
  num_sparse_encoder_layers: number
  num_sparse_decoder_layers: number
  num_heads: number
  num_experts: number
  /** Tokens that an expert takes of each sequence. */
  expert_capacity: number
  router_bias: boolean
  router_jitter_noise: number
  router_ignore_padding_tokens: boolean
  relative_attention_num_buckets: number
  relative_attention_max_distance: number
  layer_norm_epsilon: number
  /** Rate of dropout in training, where config.json has it: of hidden states, attention and hidden activations. */
  dropout_rate?: number | null | undefined
  dense_act_fn: Activation
  initializer_factor: number
  router_aux_loss_coef: number
  router_z_loss_coef: number
}

const layers = layerNumber.max(1000)
const coefficient = z.number().nonnegative()

/** Fields of config.json, with transformers' defaults. */
export const switchTransformersFields = z.object({
  vocab_size: width.default(32_128),
  d_model: width.default(768),
  d_kv: width.default(64),
  d_ff: width.default(2048),
  num_layers: layers.min(1).default(12),
  num_decoder_layers: layers.min(1).nullish(),
  num_sparse_encoder_layers: layers.default(3),
  num_sparse_decoder_layers: layers.default(3),
  num_heads: width.default(12),
  num_experts: expertCount.default(8),
  expert_capacity: width.default(64),
  router_bias: z.boolean().default(false),
  router_jitter_noise: z.number().min(0).lt(1).default(0.01),
  router_ignore_padding_tokens: z.boolean().default(false),
  relative_attention_num_buckets: z.int().min(4).max(65_536).default(32),
  relative_attention_max_distance: z.int().min(2).max(1e9).default(128),
  layer_norm_epsilon: z.number().nonnegative().default(1e-6),
  dropout_rate: dropoutRate.nullish(),
  dense_act_fn: z.string().default('relu'),
  initializer_factor: z.number().positive().default(1),
  router_aux_loss_coef: coefficient.default(0.001),
  router_z_loss_coef: coefficient.default(0.001),
  tie_word_embeddings: z.boolean().default(true),
  ...specialTokenFields({ pad: 0, eos: 1, bos: null, start: 0 }),
})

/** Of the values that change the computation, the ones that are computed here. */
const fixed = { router_dtype: ['float32'], is_gated_act: [false] }

/** Layers 1, 1 + n, 1 + 2n, ... where n is the number of layers for each sparse one. */
function isSparse(config: SwitchTransformersConfig, side: Side, layer: number): boolean {
  const [all, sparse] =
    side === 'encoder'
      ? [config.num_layers, config.num_sparse_encoder_layers]
      : [config.num_decoder_layers, config.num_sparse_decoder_layers]
  if (sparse === 0) return false
  const step = Math.max(1, Math.floor(all / sparse))
  return step === 1 || layer % step === 1
}

export const switchTransformers: Architecture<SwitchTransformersConfig, EncoderDecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({
    architectures: ['SwitchTransformersForConditionalGeneration'],
    ...config,
    dense_act_fn: hfActivation(config.dense_act_fn),
    encoder_sparse_step: stepOf(config.num_layers, config.num_sparse_encoder_layers),
    decoder_sparse_step: stepOf(config.num_decoder_layers, config.num_sparse_decoder_layers),
    is_encoder_decoder: true,
    router_dtype: 'float32',
    dtype,
    torch_dtype: dtype,
  }),
  parts(config, build) {
    const { d_model: hiddenSize, num_heads: numHeads } = config
    return {
      layers: { encoder: config.num_layers, decoder: config.num_decoder_layers },
      attention: () => new MemoryAttention({ hiddenSize, numHeads, headDim: config.d_kv, scale: 1 }),
      norm: () => new RMSNorm(hiddenSize, config.layer_norm_epsilon),
      feedForward: (side, layer) =>
        isSparse(config, side, layer)
          ? switchBlock(config, build)
          : new PlainMlp(hiddenSize, config.d_ff, { activation: config.dense_act_fn }),
      positionBias: side =>
        new RelativePositionBias({
          numHeads,
          numBuckets: config.relative_attention_num_buckets,
          maxDistance: config.relative_attention_max_distance,
          bidirectional: side === 'encoder',
        }),
      headScale: hiddenSize ** -0.5,
      initializerRange: 0.02 * config.initializer_factor,
    }
  },
  pieces: declarations => perExpertPieces(declarations, publishedName, { up_proj: 'wi', down_proj: 'wo' }),
  isIgnored: (_, name) => /^(encoder|decoder)\.embed_tokens\.weight$/.test(name),
  dropout: ({ dropout_rate: rate, ...config }) => ({
    ...{ hidden: rate ?? 0, attention: rate ?? 0 },
    ...(config.num_sparse_encoder_layers + config.num_sparse_decoder_layers > 0 && { experts: rate ?? 0 }),
  }),
  // Both of each side, over all its layers at once; balance within each sequence (transformers' forward).
  routerLosses: ({ router_aux_loss_coef: balance, router_z_loss_coef: z }) => ({
    balance: { kind: 'mixtral-hf', coefficient: balance, scope: 'sequence' },
    z: { coefficient: z, layers: 'mean' },
  }),
}

function switchBlock(config: SwitchTransformersConfig, build: Build): FeedForward {
  const sizes = { hiddenSize: config.d_model, numExperts: config.num_experts }
  const gate = new TopKRouter({
    ...sizes,
    topK: 1,
    normalize: false,
    jitter: config.router_jitter_noise,
    bias: config.router_bias,
  })
  const dispatch = fixedCapacityDispatch({ slots: config.expert_capacity, per: 'sequence' })
  return moeBlock({ ...build, dispatch }, gate, {
    ...{ kind: 'plain', ...sizes, intermediateSize: config.d_ff, activation: config.dense_act_fn },
  })
}

const stepOf = (all: number, sparse: number): number => (sparse === 0 ? all : Math.floor(all / sparse))

function parseConfig(json: unknown, source: string): SwitchTransformersConfig {
  refuseUnsupported(json, fixed, source)
  const { num_decoder_layers, dense_act_fn, ...rest } = check(switchTransformersFields, json, source)
  return {
    model_type: 'switch_transformers',
    ...rest,
    num_decoder_layers: num_decoder_layers ?? rest.num_layers,
    dense_act_fn: activationOf(dense_act_fn, source),
  }
}

const attentionNames: Record<string, string> = { q_proj: 'q', k_proj: 'k', v_proj: 'v', out_proj: 'o' }

/** T5's names: `encoder.block.N.layer.M`, with the position bias in the first block's attention. */
function publishedName(path: string): string {
  const [, side, layer, part = ''] = /^(encoder|decoder)\.layers\.(\d+)\.(.+)$/.exec(path) ?? []
  if (side === undefined) {
    return path
      .replace(/\.layer_norm\./, '.final_layer_norm.')
      .replace('.position_bias.', '.block.0.layer.0.SelfAttention.relative_attention_bias.')
  }
  const last = side === 'encoder' ? 1 : 2
  const name = part
    .replace(/^self_attn\.(\w+)/, (_, map: string) => `layer.0.SelfAttention.${attentionNames[map]}`)
    .replace(/^cross_attention\.(\w+)/, (_, map: string) => `layer.1.EncDecAttention.${attentionNames[map]}`)
    .replace(/^self_attn_layer_norm/, 'layer.0.layer_norm')
    .replace(/^cross_attention_layer_norm/, 'layer.1.layer_norm')
    .replace(/^ff_layer_norm/, `layer.${last}.layer_norm`)
    .replace(/^ffn\.gate\./, `layer.${last}.mlp.router.classifier.`)
    .replace(/^ffn\.up_proj/, `layer.${last}.mlp.wi`)
    .replace(/^ffn\.down_proj/, `layer.${last}.mlp.wo`)
    .replace(/^ffn\.experts/, `layer.${last}.mlp.experts`)
  return `${side}.block.${layer}.${name}`
}
