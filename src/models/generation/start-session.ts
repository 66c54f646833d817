// Which session a model and what is asked of it want.

import { hasKernel } from '../../torch/index.ts'
import { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import { decoderSession } from './decoder-session.ts'
import { encoderDecoderSession } from './encoder-decoder-session.ts'
import type { Session, SessionOptions, TextModel } from './session.ts'
import { staticSession } from './static-session.ts'

/** The session that a model and what is asked of it want. */
export function startSession(model: TextModel, options: SessionOptions): Session {
  if (model instanceof EncoderDecoderLM) return encoderDecoderSession(model, options)
  // To make a graph takes about as long as some steps.
  const isWorthIt = model.device !== 'cpu' && options.newTokens > 8 && options.task === undefined
  const hasKernels = hasKernel('attention', model.model.norm.weight)
  return isWorthIt && hasKernels && model.decodesStatically
    ? staticSession(model, options)
    : decoderSession(model, options)
}
