// Decoders: prompts, and then a token of each text at a time.

import { ContiguousCache } from '../../nn/index.ts'
import type { CausalLM } from '../stack/language-model.ts'
import { tokensOfSequences } from '../stack/tokens.ts'
import { lastScores, type Rows, type Session, type SessionOptions } from './session.ts'

const longestOf = (rows: Rows): number => rows.reduce((most, { length }) => Math.max(most, length), 0)

/** Prompts of unequal length stand one after the other: nothing is padded. */
export function decoderSession(
  model: CausalLM,
  { prompts, newTokens, task }: SessionOptions,
): Session & { cache: ContiguousCache } {
  const capacity = longestOf(prompts) + newTokens
  const cache = new ContiguousCache(model, { sequences: prompts.length, capacity })
  const next = (fresh: Rows): Float32Array[] =>
    lastScores(() => {
      const tokens = tokensOfSequences(fresh, { past: cache.lengths, device: model.device, task })
      return model.forward(tokens, { cache, logitsAt: 'last' }).logits
    })
  return { first: prompts, next, cache, [Symbol.dispose]: () => cache.dispose() }
}
