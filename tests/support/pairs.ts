// Pairs of sources and targets as encoder-decoders learn from.
import type { EncoderDecoderLM } from '../../src/models/index.ts'
import { type Batch, pairBatch } from '../../src/train/index.ts'

/** Two pairs of unequal lengths, of a vocabulary of 96. */
export function pairsFor({ config }: EncoderDecoderLM): Batch {
  const { eos_token_id: eos } = config
  const end = Array.isArray(eos) ? eos : [eos ?? 0]
  const pairs = [
    { source: [5, 17, 33, 40, 8, 90, 61, ...end], target: [22, 7, 45, ...end] },
    { source: [71, 3, 28, ...end], target: [64, 12, 12, 80, 39, ...end] },
  ]
  return pairBatch(pairs, config.decoder_start_token_id)
}
