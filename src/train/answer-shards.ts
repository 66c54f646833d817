// Shards of a corpus of conversations as tensors on their files.

import type { CorpusSplit } from '../data/index.ts'
import { mapFile, type Tensor } from '../torch/index.ts'

/** The tokens of a shard, [tokens], and which of them are to be learnt, u8 [tokens]. */
export interface AnswerShard {
  ids: Tensor
  taught: Tensor
}

/** Whoever asks for them disposes them. */
export function answerShards(split: CorpusSplit): AnswerShard[] {
  return split.shards.map(({ file, tokens, tokenRange, taughtRange }) => {
    using map = mapFile(file)
    return {
      ids: map.tensor(tokenRange.offset, [tokens], tokenRange.dtype === 'I16' ? 'i16' : 'i32').persist(),
      taught: map.tensor(taughtRange?.offset ?? 0, [tokens], 'u8').persist(),
    }
  })
}

export function disposeShards(shards: readonly AnswerShard[]): void {
  for (const { ids, taught } of shards) {
    ids.dispose()
    taught.dispose()
  }
}
