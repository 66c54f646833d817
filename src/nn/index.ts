// Neural network layers.

export { Constant, Derived, Parameter } from '../torch/index.ts'
export { type Activation, activate } from './activation.ts'
export { type AttendOptions, attend } from './attend.ts'
export {
  Attention,
  type AttentionInput,
  type AttentionMask,
  type AttentionOptions,
  type CacheShape,
  type CausalMaskOptions,
  causalMask,
  type KeyValueStore,
  type SelfAttention,
} from './attention.ts'
export { Dropout } from './dropout.ts'
export { Embedding, type EmbeddingOptions } from './embedding.ts'
export { constant, normal, skipInit, truncatedNormal, uniform } from './init.ts'
export { LatentAttention, type LatentAttentionOptions } from './latent-attention.ts'
export { Linear } from './linear.ts'
export {
  type KeysValues,
  MemoryAttention,
  type MemoryAttentionInput,
  type MemoryAttentionOptions,
} from './memory-attention.ts'
export { GatedMlp } from './mlp.ts'
export { Module } from './module.ts'
export { LayerNorm, RMSNorm } from './norm.ts'
export { atLeastF32 } from './precision.ts'
export { RelativePositionBias, type RelativePositionOptions, relativeBucket } from './relative-position.ts'
export { frequencyTable, halvesOfPairs, type Rotation, rotate, rotation } from './rope.ts'
export {
  plainFrequencies,
  type RopeScaling,
  type RotaryFrequencies,
  type RotarySpec,
  rotaryFrequencies,
  yarnMagnitude,
} from './rope-scaling.ts'
