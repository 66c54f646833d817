// Encoder-decoders: the sources once, and then a token of each target at a time.

import { ContiguousCache } from '../../nn/index.ts'
import { inferenceMode, tidy } from '../../torch/index.ts'
import type { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import { tokensOfSequences } from '../stack/tokens.ts'
import { type BeamSession, lastScores, type Rows, type SessionOptions } from './session.ts'

/** Every target begins with the start token, and what else is given. */
export function encoderDecoderSession(
  model: EncoderDecoderLM,
  { prompts, texts = prompts.length, beginnings = [], newTokens, kv }: SessionOptions,
): BeamSession {
  const { device } = model
  const start = model.config.decoder_start_token_id
  const first = Array.from({ length: texts }, (_, b) => [start, ...(beginnings[b] ?? beginnings[0] ?? [])])
  const capacity = Math.max(...first.map(({ length }) => length)) + newTokens
  const cache = new ContiguousCache(model, { sequences: texts, capacity, kv })
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
    first,
    next,
    reorder: from => cache.reorder(from), // all that is reordered has the same source
    [Symbol.dispose]: dispose,
  }
}
