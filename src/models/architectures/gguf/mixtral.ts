// Mixtral in GGUF: the architecture `llama`, with experts.

import { FormatError } from '../../errors.ts'
import { type MixtralConfig, mixtral } from '../mixtral.ts'
import type { GgufArchitecture } from './architecture.ts'
import { mergedExperts, pairedForRotation, separateExperts, splitExperts } from './pieces.ts'

export const mixtralGguf: GgufArchitecture<MixtralConfig> = {
  name: 'llama',
  modelType(meta) {
    if (meta.numberOr('expert_count', 0) > 0) return 'mixtral'
    throw new FormatError('is a dense llama, which has no experts: there is no model type for it here', {
      file: meta.file,
    })
  },
  configFields: meta => ({
    num_local_experts: meta.number('expert_count'),
    num_experts_per_tok: meta.number('expert_used_count'),
  }),
  writeFields(to, config) {
    to.u32('expert_count', config.num_local_experts)
    to.u32('expert_used_count', config.num_experts_per_tok)
    to.u32('rope.dimension_count', config.head_dim)
    to.u32('attention.key_length', config.head_dim)
    to.u32('attention.value_length', config.head_dim)
  },
  layouts(config) {
    const shapes = mixtral.parameterShapes(config)
    const heads = { q_proj: config.num_attention_heads, k_proj: config.num_key_value_heads }
    return [pairedForRotation(splitExperts(shapes), heads), mergedExperts(shapes), separateExperts(shapes)]
  },
}
