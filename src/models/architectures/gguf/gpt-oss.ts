// gpt-oss in GGUF: gate and up apart and output first, where memory has their columns side by side and input first.

import { ConfigError } from '../../errors.ts'
import type { CheckpointPiece } from '../architecture.ts'
import { type GptOssConfig, gptOss } from '../gpt-oss.ts'
import type { GgufArchitecture } from './architecture.ts'
import { splitExperts } from './pieces.ts'

export const gptOssGguf: GgufArchitecture<GptOssConfig> = {
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
  layouts: config => [
    splitExperts(gptOss.parameterShapes(config)).flatMap(piece => gptOssPieces(piece, config)),
  ],
}

const usualType = (layer: number): string => (layer % 2 === 0 ? 'sliding_attention' : 'full_attention')

function gptOssPieces(piece: CheckpointPiece, config: GptOssConfig): CheckpointPiece[] {
  const { num_local_experts: experts, intermediate_size: width, hidden_size: hidden } = config
  const [, layer, part] = /^model\.layers\.(\d+)\.(.+)$/.exec(piece.parameter) ?? []
  const { parameter } = piece
  switch (part) {
    case 'post_attention_layernorm.weight':
      return [{ ...piece, name: `blk.${layer}.post_attention_norm.weight` }]
    case 'mlp.experts.down_proj':
      return [{ ...piece, shape: [experts, hidden, width], transposed: true }]
    case 'mlp.experts.down_proj_bias':
      return [{ ...piece, name: `blk.${layer}.ffn_down_exps.bias` }]
    case 'mlp.experts.gate_up_proj_bias':
      return [
        { name: `blk.${layer}.ffn_gate_exps.bias`, shape: [experts, width], parameter, columns: [0, 2] },
        { name: `blk.${layer}.ffn_up_exps.bias`, shape: [experts, width], parameter, columns: [1, 2] },
      ]
    case 'mlp.experts.gate_up_proj': {
      const { name, rows } = piece
      if (rows === undefined) return [piece]
      const columns: [number, number] = [rows[0] === 0 ? 0 : 1, 2]
      return [{ name, shape: [experts, width, hidden], parameter, columns, transposed: true }]
    }
    default:
      return [piece]
  }
}
