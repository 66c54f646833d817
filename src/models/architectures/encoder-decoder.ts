// What the configs of encoder-decoders share.

import { z } from 'zod'

const tokenId = z.int().nonnegative()

/** A share that training drops. */
export const dropoutRate = z.number().min(0).lt(1)

/** Fields of special tokens, by what transformers takes for one that is left out. */
export function specialTokenFields(ids: { pad: number; eos: number; bos: number | null; start: number }) {
  return {
    pad_token_id: tokenId.default(ids.pad),
    eos_token_id: z
      .union([tokenId, z.array(tokenId)])
      .nullable()
      .default(ids.eos),
    bos_token_id: tokenId.nullable().default(ids.bos),
    decoder_start_token_id: tokenId.default(ids.start),
  } as const
}
