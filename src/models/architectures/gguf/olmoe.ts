// OLMoE in GGUF.

import { ConfigError } from '../../errors.ts'
import { type OlmoeConfig, olmoe } from '../olmoe.ts'
import type { GgufArchitecture } from './architecture.ts'
import { mergedExperts, splitExperts } from './pieces.ts'

export const olmoeGguf: GgufArchitecture<OlmoeConfig> = {
  name: 'olmoe',
  modelType: () => 'olmoe',
  configFields: meta => ({
    num_experts: meta.number('expert_count'),
    num_experts_per_tok: meta.number('expert_used_count'),
    norm_topk_prob: false,
  }),
  writeFields(to, config) {
    const fields = { clip_qkv: null, norm_topk_prob: false, attention_bias: false } as const
    for (const [name, only] of Object.entries(fields)) {
      const value = config[name as keyof typeof fields]
      if (value === only) continue
      throw new ConfigError(`${name} is ${String(value)}, and GGUF's olmoe has only ${String(only)}`, {
        path: 'olmoe',
      })
    }
    to.u32('expert_count', config.num_experts)
    to.u32('expert_used_count', config.num_experts_per_tok)
  },
  layouts(config) {
    const shapes = olmoe.parameterShapes(config)
    return [splitExperts(shapes), mergedExperts(shapes)]
  },
}
