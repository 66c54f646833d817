// NLLB-MoE (arXiv:2207.04672): a translation model with fairseq's top-2 experts in every n-th layer.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import {
  capacityDispatch,
  type Dispatch,
  type Experts,
  fixedCapacityDispatch,
  type LayerContext,
  MoeLayer,
  type MoeOutput,
  PlainMlp,
  type SecondExpertPolicy,
  Top2Router,
} from '../../moe/index.ts'
import { type Activation, LayerNorm, MemoryAttention, type Module } from '../../nn/index.ts'
import { arange, cat, noGrad, rand, type Tensor, tidy } from '../../torch/index.ts'
import type { EncoderDecoderConfig } from '../stack/config.ts'
import type { Build, EncoderDecoderParts, Side } from '../stack/parts.ts'
import { everyPosition } from '../stack/tokens.ts'
import type { Architecture } from './architecture.ts'
import { activationOf, check, hfActivation, refuseUnsupported } from './config.ts'
import { dropoutRate, specialTokenFields } from './encoder-decoder.ts'
import { expertCount, layerNumber, width } from './moe-config.ts'
import { perExpertPieces } from './published-names.ts'

export interface NllbMoeConfig extends EncoderDecoderConfig {
  model_type: 'nllb-moe'
  encoder_layers: number
  decoder_layers: number
  encoder_attention_heads: number
  decoder_attention_heads: number
  encoder_ffn_dim: number
  decoder_ffn_dim: number
  /** Every n-th layer has experts (layer i when n divides i + 1); 0: none. */
  encoder_sparse_step: number
  decoder_sparse_step: number
  num_experts: number
  /** Slots per expert in evaluation where no token fraction says otherwise. */
  expert_capacity: number
  /** Slots per expert in evaluation as a share of all tokens; not above 0: expert_capacity counts. */
  moe_eval_capacity_token_fraction: number
  /** Rate at which tokens skip their experts in training, where evaluation scales by one minus it. */
  moe_token_dropout: number
  second_expert_policy: SecondExpertPolicy
  normalize_router_prob_before_dropping: boolean
  batch_prioritized_routing: boolean
  router_bias: boolean
  router_ignore_padding_tokens: boolean
  /** Rates of dropout in training, where config.json has them: of hidden states, of attention, of hidden activations. */
  dropout?: number | null | undefined
  attention_dropout?: number | null | undefined
  activation_dropout?: number | null | undefined
  activation_function: Activation
  scale_embedding: boolean
  max_position_embeddings: number
  init_std: number
  router_aux_loss_coef: number
  router_z_loss_coef: number
}

const layers = layerNumber.max(1000)
const coefficient = z.number().nonnegative()

/** Fields of config.json, with transformers' defaults. */
export const nllbMoeFields = z.object({
  vocab_size: width.default(128_112),
  d_model: width.default(1024),
  encoder_layers: layers.min(1).default(12),
  decoder_layers: layers.min(1).default(12),
  encoder_attention_heads: width.default(16),
  decoder_attention_heads: width.default(16),
  encoder_ffn_dim: width.default(4096),
  decoder_ffn_dim: width.default(4096),
  encoder_sparse_step: layers.default(4),
  decoder_sparse_step: layers.default(4),
  num_experts: expertCount.min(2).default(128),
  expert_capacity: width.default(64),
  moe_eval_capacity_token_fraction: z.number().default(1),
  moe_token_dropout: z.number().min(0).lt(1).default(0.2),
  second_expert_policy: z.enum(['all', 'sampling', 'random']).default('all'),
  normalize_router_prob_before_dropping: z.boolean().default(false),
  batch_prioritized_routing: z.boolean().default(false),
  router_bias: z.boolean().default(false),
  router_ignore_padding_tokens: z.boolean().default(false),
  dropout: dropoutRate.nullish(),
  attention_dropout: dropoutRate.nullish(),
  activation_dropout: dropoutRate.nullish(),
  activation_function: z.string().default('relu'),
  scale_embedding: z.boolean().default(true),
  max_position_embeddings: width.default(1024),
  init_std: z.number().positive().default(0.02),
  router_aux_loss_coef: coefficient.default(0.001),
  router_z_loss_coef: coefficient.default(0.001),
  tie_word_embeddings: z.boolean().default(true),
  ...specialTokenFields({ pad: 1, eos: 2, bos: 0, start: 2 }),
})

const fixed = { router_dtype: ['float32'] }

const isSparse = (config: NllbMoeConfig, side: Side, layer: number): boolean => {
  const step = side === 'encoder' ? config.encoder_sparse_step : config.decoder_sparse_step
  return step > 0 && (layer + 1) % step === 0
}

const hasExperts = (config: NllbMoeConfig): boolean =>
  (['encoder', 'decoder'] as const).some(side => {
    const step = config[`${side}_sparse_step`]
    return step > 0 && step <= config[`${side}_layers`]
  })

export const nllbMoe: Architecture<NllbMoeConfig, EncoderDecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({
    architectures: ['NllbMoeForConditionalGeneration'],
    ...config,
    activation_function: hfActivation(config.activation_function),
    is_encoder_decoder: true,
    router_dtype: 'float32',
    dtype,
    torch_dtype: dtype,
  }),
  parts(config, build) {
    const { d_model: hiddenSize, encoder_attention_heads: numHeads, pad_token_id: pad } = config
    return {
      layers: { encoder: config.encoder_layers, decoder: config.decoder_layers },
      attention: () =>
        new MemoryAttention({ hiddenSize, numHeads, headDim: hiddenSize / numHeads, bias: true }),
      norm: () => new LayerNorm(hiddenSize, 1e-5),
      feedForward: (side, layer) => {
        const inner = side === 'encoder' ? config.encoder_ffn_dim : config.decoder_ffn_dim
        return isSparse(config, side, layer)
          ? nllbBlock(config, build, inner)
          : new PlainMlp(hiddenSize, inner, { activation: config.activation_function, bias: true })
      },
      embed: (vectors, tokens) => {
        const scaled = config.scale_embedding ? vectors.mul(Math.sqrt(hiddenSize)) : vectors
        // Positions count on from pad + 1; padding has pad (fairseq).
        const places = everyPosition(tokens)
          .add(pad + 1)
          .maskedFill(tokens.ids.eq(pad), pad)
        return scaled.add(sinusoids(places, hiddenSize).to(vectors.dtype))
      },
      paddingIndex: pad,
      initializerRange: config.init_std,
    }
  },
  dropout: config => ({
    ...{ hidden: config.dropout ?? 0, attention: config.attention_dropout ?? 0 },
    ...(hasExperts(config) && { experts: config.activation_dropout ?? 0 }),
  }),
  pieces: declarations => perExpertPieces(declarations, publishedName, { up_proj: 'fc1', down_proj: 'fc2' }),
  isIgnored: (_, name) => /^model\.(encoder|decoder)\.(embed_tokens|embed_positions)\./.test(name),
}

/**
 * In training some tokens get nothing from their experts, all the others what these mix; evaluation scales by the share that is
 * kept (arXiv:2207.04672, expert output masking; transformers drops single numbers of each expert's output instead).
 */
class TokenDropoutMoe extends MoeLayer<Top2Router> {
  readonly #kept: number

  constructor(gate: Top2Router, experts: Module & Experts, dispatch: Dispatch, dropout: number) {
    super(gate, experts, dispatch)
    this.#kept = 1 - dropout
  }

  override forward(x: Tensor, context: LayerContext = {}): MoeOutput {
    const output = super.forward(x, context)
    if (this.#kept === 1) return output
    return { ...output, y: output.y.mul(this.training ? this.#mask(output.y) : this.#kept) }
  }

  /** [N, 1] */
  #mask(y: Tensor): Tensor {
    return noGrad(() =>
      tidy(() =>
        rand([y.size(0), 1], { device: y.device })
          .lt(this.#kept)
          .to(y.dtype),
      ),
    )
  }
}

function nllbBlock(config: NllbMoeConfig, build: Build, intermediateSize: number): TokenDropoutMoe {
  const sizes = { hiddenSize: config.d_model, numExperts: config.num_experts }
  const normalize = config.normalize_router_prob_before_dropping
  const policy = config.second_expert_policy
  const gate = new Top2Router({ ...sizes, policy, threshold: 0.5, normalize, bias: config.router_bias })
  const activation = config.activation_function
  const experts = build.experts({ kind: 'plain', ...sizes, intermediateSize, activation, bias: true })
  return new TokenDropoutMoe(gate, experts, dispatchOf(config), config.moe_token_dropout)
}

/** In training `2 ceil(T / E)` slots, in evaluation by token fraction or expert_capacity. */
function dispatchOf(config: NllbMoeConfig): Dispatch {
  const fraction = config.moe_eval_capacity_token_fraction
  if (fraction <= 0) return fixedCapacityDispatch({ slots: config.expert_capacity, per: 'batch' })
  return capacityDispatch({
    factor: 2,
    share: 'tokens',
    minimum: 1,
    evalTokenFraction: fraction,
    policy: config.batch_prioritized_routing ? 'prioritized' : 'position',
    renormalize: !config.normalize_router_prob_before_dropping,
  })
}

/** `[sin(p w_i), cos(p w_i)]`, `w_i = 10000^(-i / (d/2 - 1))`: [N] -> [N, d]. */
function sinusoids(positions: Tensor, d: number): Tensor {
  return noGrad(() =>
    tidy(() => {
      const half = d / 2
      const exponents = arange(0, half, 1, { dtype: 'f32', device: positions.device })
      const frequencies = exponents.mul(-Math.log(10_000) / (half - 1)).exp() // [d / 2]
      const angles = positions.to('f32').unsqueeze(-1).mul(frequencies) // [N, d / 2]
      return cat([angles.sin(), angles.cos()], -1)
    }),
  )
}

function parseConfig(json: unknown, source: string): NllbMoeConfig {
  refuseUnsupported(json, fixed, source)
  const parsed = check(nllbMoeFields, json, source)
  const { d_model, encoder_attention_heads: heads } = parsed
  refuseUnsupported(parsed, { decoder_attention_heads: [heads] }, source)
  if (d_model % (2 * heads) !== 0)
    throw new ConfigError(`d_model ${d_model} is not divisible by twice the ${heads} attention heads`, {
      path: source,
    })
  const activation_function = activationOf(parsed.activation_function, source)
  return { model_type: 'nllb-moe', ...parsed, activation_function }
}

function publishedName(path: string): string {
  const name = path
    .replace('.ffn.gate.', '.ffn.router.classifier.')
    .replace('.ffn.up_proj.', '.ffn.fc1.')
    .replace('.ffn.down_proj.', '.ffn.fc2.')
  return path.startsWith('lm_head.') ? path : `model.${name}`
}
