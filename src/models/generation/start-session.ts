// Which session a model and what is asked of it want.

import { kernelFor } from '../../torch/index.ts'
import { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import { decoderSession } from './decoder-session.ts'
import { encoderDecoderSession } from './encoder-decoder-session.ts'
import type { Session, SessionOptions, TextModel } from './session.ts'
import { staticSession } from './static-session.ts'

/** The session that a model and what is asked of it want. */
export function startSession(model: TextModel, options: SessionOptions): Session {
  if (model instanceof EncoderDecoderLM) return encoderDecoderSession(model, options)
  // To make a graph takes about as long as some steps.
  const isWorthIt = options.newTokens > 8 && options.task === undefined
  const hasKernel = kernelFor('attentionDecode', model.model.norm.weight) !== null
  return isWorthIt && hasKernel && model.decodesStatically
    ? staticSession(model, options)
    : decoderSession(model, options)
}
