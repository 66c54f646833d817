// What training takes: every kind of model that there is.

import type { EncoderDecoderLM } from './encoder-decoder.ts'
import type { LanguageModel } from './language-model.ts'

export type TrainableModel = LanguageModel | EncoderDecoderLM
