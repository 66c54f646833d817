// An encoder: the layers of a decoder, in which each position sees all others, before and after it.

import type { DecoderConfig } from './config.ts'
import { type DecoderParts, LanguageModel } from './decoder.ts'

export interface EncoderConfig extends DecoderConfig {
  /** What stands for a token that is to be predicted. */
  mask_token_id: number
}

/** An encoder with a head that scores, at each masked position, the token that was there. */
export class MaskedLM extends LanguageModel {
  readonly maskTokenId: number

  constructor(config: EncoderConfig, parts: Omit<DecoderParts, 'isCausal' | 'window'>) {
    super(config, { ...parts, isCausal: false })
    this.maskTokenId = config.mask_token_id
  }
}
