// Pairs of a source and a target, from which encoder-decoders learn.
// Shapes: N tokens of the targets of a batch.

import { type Tokens, tokensOfSequences } from '../models/index.ts'
import { type Device, type Tensor, tensor, tidy } from '../torch/index.ts'
import type { Batch } from './objective.ts'

/** What is read, and what is to be written, each to its last token, which mostly ends the text. */
export interface TokenPair {
  source: readonly number[]
  target: readonly number[]
  /** Of each token of the target, whether it is to be learnt. Default: all are. */
  taught?: readonly boolean[]
}

/**
 * Teacher forcing: the decoder reads `start` and all of the target but its last token, and is to predict the target, as transformers'
 * `labels` are learnt (`shift_tokens_right`).
 *
 * @param start decoder_start_token_id
 */
export function pairBatch(
  pairs: readonly TokenPair[],
  start: number,
  device: Device = 'cpu',
): Batch & { source: Tokens; scored: number } {
  return tidy(() => {
    const targets = pairs.flatMap(({ target, taught }) =>
      target.map((id, i) => ((taught?.[i] ?? true) ? id : -100)),
    )
    const shifted = pairs.map(({ target }) => [start, ...target.slice(0, -1)])
    return {
      source: tokensOfSequences(
        pairs.map(({ source }) => source),
        { device },
      ),
      inputs: tokensOfSequences(shifted, { device }),
      targets: idsOf(targets).to(device), // [N]
      scored: targets.filter(id => id >= 0).length,
    }
  })
}

const idsOf = (ids: readonly number[]): Tensor => tensor(Int32Array.from(ids)).long()
