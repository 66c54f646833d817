// Our own encoder: switchyard_moe's layers looking both ways, for any router, also those by which experts choose.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import type { EncoderConfig } from '../stack/config.ts'
import type { DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, decoderJson, refuseUnsupported } from './config.ts'
import { chooserOf } from './expert-block.ts'
import { type ExpertLayersConfig, expertLayers, parseExpertLayers } from './switchyard-moe.ts'

export interface SwitchyardMoeEncoderConfig extends ExpertLayersConfig, EncoderConfig {
  model_type: 'switchyard_moe_encoder'
}

const encoderFields = z.looseObject({ mask_token_id: z.int().nonnegative() })

export const switchyardMoeEncoder: Architecture<SwitchyardMoeEncoderConfig, DecoderParts> = {
  parseConfig(json, source) {
    const { mask_token_id } = check(encoderFields, json, source)
    refuseUnsupported(json, { sliding_window: [null] }, source)
    const config = parseExpertLayers(json, source)
    if (mask_token_id < config.vocab_size)
      return { model_type: 'switchyard_moe_encoder', ...config, mask_token_id }
    throw new ConfigError(
      `mask_token_id ${mask_token_id} is outside of the vocabulary of ${config.vocab_size}`,
      { path: source },
    )
  },
  toJson: (config, dtype) => ({
    architectures: ['SwitchyardMoeForMaskedLM'],
    ...decoderJson(config, dtype),
    use_cache: false,
  }),
  parts: expertLayers,
  chooser: chooserOf,
}
