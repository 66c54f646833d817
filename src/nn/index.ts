// Neural network layers.

export { type Activation, activate } from './activation.ts'
export { attend, type ScoreOptions } from './attention/attend.ts'
export { type CacheOptions, ContiguousCache } from './attention/contiguous-cache.ts'
export { Attention, type AttentionOptions } from './attention/grouped.ts'
export { type KvForm, type KvType, kvBytes, kvFormOf, kvTypeFor } from './attention/kv-form.ts'
export {
  type AttendOptions,
  type CacheShape,
  type CachingModel,
  eachSequence,
  type KvCache,
  type KvStore,
  type LatentForm,
  type Rows,
  rowsOf,
} from './attention/kv-store.ts'
export { LatentAttention, type LatentAttentionOptions } from './attention/latent.ts'
export { type CausalMaskOptions, causalMask } from './attention/mask.ts'
export { MemoryAttention, type MemoryAttentionOptions, SourceStore } from './attention/memory.ts'
export { PagedCache, type PagedCacheOptions } from './attention/paged-cache.ts'
export {
  RelativePositionBias,
  type RelativePositionOptions,
  relativeBucket,
} from './attention/relative-position.ts'
export { type PageTable, Places, RowCache, type RowCacheOptions } from './attention/row-cache.ts'
export type { AttentionInput, SelfAttention } from './attention/self-attention.ts'
export { StaticCache } from './attention/static-cache.ts'
export { withinTokens } from './attention/within-tokens.ts'
export { Dropout } from './dropout.ts'
export { Embedding, type EmbeddingOptions } from './embedding.ts'
export { constant, fill, type Init, normal, ownInit, ownSeed, uniform } from './init.ts'
export { Linear, type LinearOptions, linearBy, numbersOf } from './linear.ts'
export { Lstm, type LstmState } from './lstm.ts'
export { GatedMlp } from './mlp.ts'
export { Module } from './module.ts'
export { LayerNorm, RMSNorm } from './norm.ts'
export {
  Buffer,
  type BufferOptions,
  type Declaration,
  declared,
  Parameter,
  type Role,
  undrawn,
} from './parameter.ts'
export { atLeastF32 } from './precision.ts'
export { replaceModules } from './replace.ts'
export { frequencyTable, halvesOfPairs, type Rotation, rotate, rotation } from './rope.ts'
export {
  plainFrequencies,
  type RopeScaling,
  type RotaryFrequencies,
  type RotarySpec,
  rotaryFrequencies,
  yarnMagnitude,
} from './rope-scaling.ts'
