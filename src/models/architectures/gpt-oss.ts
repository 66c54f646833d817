// gpt-oss (arXiv:2508.10925): biased router, clamped experts, attention sinks, every other layer through a window.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { TopKRouter } from '../../moe/index.ts'
import type { DecoderConfig } from '../stack/config.ts'
import { attentionSizes, type DecoderParts } from '../stack/parts.ts'
import type { Architecture, CheckpointPiece, Declarations } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { splitExperts } from './gguf/pieces.ts'
import type { GgufRow } from './gguf/row.ts'
import { moeBlock } from './moe-block.ts'
import {
  expertCount,
  type LayerType,
  layerTypes,
  layerTypesOf,
  refuseTooManyChosen,
  windowOfType,
} from './moe-config.ts'
import { publishedPieces } from './published-names.ts'

export interface GptOssConfig extends DecoderConfig {
  model_type: 'gpt_oss'
  num_local_experts: number
  num_experts_per_tok: number
  layer_types: LayerType[]
  /** Bound inside the experts. */
  swiglu_limit: number
  router_aux_loss_coef: number
}

const defaults: DecoderDefaults = {
  num_key_value_heads: 8,
  head_dim: 64,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-5,
  rope_theta: 150_000,
  sliding_window: 128,
  attention_bias: true,
  fixed: { hidden_act: ['silu'] },
}

/** Where the file names no rule for long texts. */
const yarn = { rope_type: 'yarn', factor: 32, original_max_position_embeddings: 4096, truncate: false }

const moeFields = z.object({
  num_local_experts: expertCount.default(128),
  num_experts_per_tok: z.int().positive().default(4),
  layer_types: layerTypes.nullish(),
  swiglu_limit: z.number().positive().default(7),
  router_aux_loss_coef: z.number().nonnegative().default(0.9),
})

const gguf: GgufRow<GptOssConfig> = {
  name: 'gpt-oss',
  modelType: () => 'gpt_oss',
  configFields: meta => ({
    num_local_experts: meta.number('expert_count'),
    num_experts_per_tok: meta.number('expert_used_count'),
    intermediate_size: meta.number('expert_feed_forward_length'),
    attention_bias: true,
    rope_scaling: {
      rope_type: 'yarn',
      factor: meta.number('rope.scaling.factor'),
      original_max_position_embeddings: meta.number('rope.scaling.original_context_length'),
      truncate: false,
    },
  }),
  writeFields(to, config) {
    if (config.swiglu_limit !== 7)
      throw new ConfigError(`swiglu_limit is ${config.swiglu_limit}, and GGUF's gpt-oss has 7`, {
        path: 'gpt_oss',
      })
    if (config.layer_types.some((type, layer) => type !== usualType(layer)))
      throw new ConfigError("layer_types differ from GGUF's gpt-oss, where every other layer has a window", {
        path: 'gpt_oss',
      })
    to.u32('expert_count', config.num_local_experts)
    to.u32('expert_used_count', config.num_experts_per_tok)
    to.u32('expert_feed_forward_length', config.intermediate_size)
    to.u32('attention.key_length', config.head_dim)
    to.u32('attention.value_length', config.head_dim)
  },
  layouts: (config, declarations) => [splitExperts(declarations).flatMap(piece => ggufPieces(piece, config))],
}

const usualType = (layer: number): string => (layer % 2 === 0 ? 'sliding_attention' : 'full_attention')

function ggufPieces(piece: CheckpointPiece, config: GptOssConfig): CheckpointPiece[] {
  const { num_local_experts: experts, intermediate_size: width } = config
  const [, layer, part] = /^model\.layers\.(\d+)\.(.+)$/.exec(piece.parameter) ?? []
  const { parameter } = piece
  switch (part) {
    case 'post_attention_layernorm.weight':
      return [{ ...piece, name: `blk.${layer}.post_attention_norm.weight` }]
    case 'mlp.experts.down_proj_bias':
      return [{ ...piece, name: `blk.${layer}.ffn_down_exps.bias` }]
    case 'mlp.experts.gate_up_proj_bias':
      return [
        { name: `blk.${layer}.ffn_gate_exps.bias`, shape: [experts, width], parameter, columns: [0, width] },
        {
          name: `blk.${layer}.ffn_up_exps.bias`,
          shape: [experts, width],
          parameter,
          columns: [width, width],
        },
      ]
    default:
      return [piece]
  }
}

export const gptOss: Architecture<GptOssConfig, DecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({ architectures: ['GptOssForCausalLM'], ...decoderJson(config, dtype) }),
  parts(config, build) {
    const sizes = { hiddenSize: config.hidden_size, numExperts: config.num_local_experts }
    const { num_experts_per_tok: topK, intermediate_size: intermediateSize, swiglu_limit: limit } = config
    return {
      attention: () =>
        build.attention({
          ...attentionSizes(config),
          bias: config.attention_bias ? 'all' : 'none',
          sinks: true,
        }),
      window: layer => windowOfType(config, layer),
      feedForward: () =>
        moeBlock(build, new TopKRouter({ ...sizes, topK, order: 'topk-softmax', bias: true }), {
          ...{ kind: 'clamped', ...sizes, intermediateSize, limit },
        }),
    }
  },
  pieces: declarations => namedPieces(declarations).map(inputsFirst),
  quantizedPieces: declarations => namedPieces(declarations).flatMap(outputsFirst),
  gguf,
}

const namedPieces = (declarations: Declarations): CheckpointPiece[] =>
  publishedPieces(declarations, { rename: path => path.replace('.mlp.gate.', '.mlp.router.') })

/** As transformers has experts: inputs first, gate and up by turns. */
function inputsFirst(piece: CheckpointPiece): CheckpointPiece {
  const [experts = 0, rows = 0, columns = 0] = piece.shape
  switch (expertsPart(piece)) {
    case 'gate_up_proj':
      return { ...piece, shape: [experts, columns, rows], transposed: true, alternating: 'columns' }
    case 'gate_up_proj_bias':
      return { ...piece, alternating: 'columns' }
    case 'down_proj':
      return { ...piece, shape: [experts, columns, rows], transposed: true }
    default:
      return piece
  }
}

/** MXFP4, as OpenAI published them: outputs first, gate and up by turns. */
function outputsFirst(piece: CheckpointPiece): CheckpointPiece[] {
  const name = `${piece.name}_blocks`
  switch (expertsPart(piece)) {
    case 'gate_up_proj':
      return [{ ...piece, name, alternating: 'rows' }]
    case 'down_proj':
      return [{ ...piece, name }]
    default:
      return []
  }
}

const expertsPart = ({ parameter }: CheckpointPiece): string | undefined =>
  /\.mlp\.experts\.(\w+)$/.exec(parameter)?.[1]

function parseConfig(json: unknown, source: string): GptOssConfig {
  const { layer_types, ...fields } = check(moeFields, json, source)
  const decoder = parseDecoderConfig({ rope_scaling: yarn, ...(json as object) }, source, defaults)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.num_local_experts, 'num_local_experts', source)
  const byDefault = (layer: number): LayerType => (layer % 2 === 0 ? 'sliding_attention' : 'full_attention')
  const types = layerTypesOf(layer_types, decoder.num_hidden_layers, byDefault, source)
  return { model_type: 'gpt_oss', ...decoder, ...fields, layer_types: types }
}
