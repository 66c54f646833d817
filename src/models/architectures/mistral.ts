// Mistral: the dense decoder (arXiv:2310.06825), and so the twin that a Mixtral is compared with.

import { GatedMlp } from '../nn/index.ts'
import {
  type Architecture,
  decoderShapes,
  gatedMlpShapes,
  type ParameterShapes,
  wholePieces,
} from './architecture.ts'
import { type DecoderConfig, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { CausalLM } from './decoder.ts'

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

export class MistralForCausalLM extends CausalLM {
  constructor(config: MistralConfig) {
    const { hidden_size, intermediate_size, hidden_act } = config
    super(config, { feedForward: () => new GatedMlp(hidden_size, intermediate_size, hidden_act) })
  }
}

export const mistral: Architecture<MistralConfig> = {
  parseConfig: (json, source) => ({
    model_type: 'mistral',
    ...parseDecoderConfig(json, source, defaults),
  }),
  feedForward: () => 'dense',
  toJson: (config, dtype) => ({ architectures: ['MistralForCausalLM'], ...decoderJson(config, dtype) }),
  parameterShapes,
  checkpointPieces: config => wholePieces(parameterShapes(config)),
  inactiveParameters: () => 0,
  create: config => new MistralForCausalLM(config),
}

function parameterShapes(config: MistralConfig): ParameterShapes {
  const { hidden_size: hidden, intermediate_size: width } = config
  return decoderShapes(config, () => gatedMlpShapes('mlp.', hidden, width))
}
