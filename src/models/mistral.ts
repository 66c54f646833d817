// Mistral: the dense decoder (arXiv:2310.06825), and so the twin that a Mixtral is compared with.

import { GatedMlp } from '../nn/index.ts'
import { type Architecture, decoderShapes, type ParameterShapes, wholePieces } from './architecture.ts'
import { type DecoderConfig, decoderJson, parseDecoderConfig } from './config.ts'
import { CausalLM } from './decoder.ts'

export interface MistralConfig extends DecoderConfig {
  model_type: 'mistral'
}

export class MistralForCausalLM extends CausalLM {
  constructor(config: MistralConfig) {
    super(config, () => new GatedMlp(config.hidden_size, config.intermediate_size))
  }
}

export const mistral: Architecture<MistralConfig> = {
  parseConfig: (json, source) => ({
    model_type: 'mistral',
    ...parseDecoderConfig(json, source, { rope_theta: 10_000 }),
  }),
  toJson: config => ({ architectures: ['MistralForCausalLM'], ...decoderJson(config) }),
  parameterShapes,
  checkpointPieces: config => wholePieces(parameterShapes(config)),
  inactiveParameters: () => 0,
  create: config => new MistralForCausalLM(config),
}

function parameterShapes(config: MistralConfig): ParameterShapes {
  const { hidden_size: hidden, intermediate_size: width } = config
  return decoderShapes(config, {
    'mlp.gate_proj.weight': [width, hidden],
    'mlp.up_proj.weight': [width, hidden],
    'mlp.down_proj.weight': [hidden, width],
  })
}
