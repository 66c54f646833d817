// What a layer and its attention have to say to each other.
// Shapes: N new tokens.

import type { Tensor } from '../../torch/index.ts'
import type { Module } from '../module.ts'
import type { AttendOptions, CacheShape, KvStore } from './kv-store.ts'

/** What attention takes beside the tokens: where they are, what each may see, and what came before. */
export interface AttentionInput extends Pick<AttendOptions, 'starts' | 'rotation' | 'isCausal' | 'window'> {
  /** Earlier tokens. Default: there are none. */
  store?: KvStore | undefined
  /** See AttendOptions. Default: none. */
  bias?: AttendOptions['bias']
}

/** Attention of a layer over its own tokens. */
export type SelfAttention = Module & {
  /** x [N, hidden] -> [N, hidden] */
  forward(x: Tensor, input: AttentionInput): Tensor
  readonly cacheShape: CacheShape
  /** FLOPs of one token for each position that it attends to: scores, and the weighted sum. */
  readonly flopsPerPosition: number
  /** Whether it can decode where only the device knows how long texts are: no sinks, nothing latent. */
  readonly decodesStatically: boolean
}
