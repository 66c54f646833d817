// Mistral: the dense decoder (arXiv:2310.06825), and so the twin that a Mixtral is compared with.

import { GatedMlp } from '../../nn/index.ts'
import type { DecoderConfig } from '../stack/config.ts'
import type { DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'

export interface MistralConfig extends DecoderConfig {
  model_type: 'mistral'
}

const defaults: DecoderDefaults = {
  num_key_value_heads: 8,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  sliding_window: 4096,
  fixed: { attention_bias: [false] },
}

export const mistral: Architecture<MistralConfig, DecoderParts> = {
  parseConfig: (json, source) => ({ model_type: 'mistral', ...parseDecoderConfig(json, source, defaults) }),
  toJson: (config, dtype) => ({ architectures: ['MistralForCausalLM'], ...decoderJson(config, dtype) }),
  parts: ({ hidden_size, intermediate_size, hidden_act }) => ({
    feedForward: () => new GatedMlp(hidden_size, intermediate_size, hidden_act),
  }),
}
