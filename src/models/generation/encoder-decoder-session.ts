// Encoder-decoders: the sources once, and then a token of each target at a time.

import { ContiguousCache } from '../../nn/index.ts'
import { inferenceMode, tidy } from '../../torch/index.ts'
import type { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import { tokensOfSequences } from '../stack/tokens.ts'
import { type BeamSession, lastScores, type Rows, type SessionOptions } from './session.ts'

/** Every target begins with the start token. */
export function encoderDecoderSession(
  model: EncoderDecoderLM,
  { prompts, newTokens, kv }: SessionOptions,
): BeamSession {
  const { device } = model
  const cache = new ContiguousCache(model, { sequences: prompts.length, capacity: newTokens + 1, kv })
  const source = inferenceMode(() =>
    tidy(() => {
      const encoded = model.encode(tokensOfSequences(prompts, { device }))
      for (const { keys, values } of encoded.stores) for (const held of [keys, values]) held.persist()
      return { ...encoded, routings: [] }
    }),
  )
  const next = (fresh: Rows): Float32Array[] =>
    lastScores(() => {
      const tokens = tokensOfSequences(fresh, { past: cache.lengths, device })
      return model.decode(tokens, source, { cache, logitsAt: 'last' }).logits
    })
  const dispose = (): void => {
    cache.dispose()
    source[Symbol.dispose]()
  }
  return {
    first: prompts.map(() => [model.config.decoder_start_token_id]),
    next,
    reorder: from => cache.reorder(from), // all that is reordered has the same source
    [Symbol.dispose]: dispose,
  }
}
