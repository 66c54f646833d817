// Checkpoint files as byte ranges: no tensors, no native code.

export { type GgufHeader, readGgufHeader } from './gguf/read.ts'
export type { GgufMetadata, GgufTensor, GgufValue, Scalar } from './gguf/types.ts'
export { type GgufTensorSource, writeGguf } from './gguf/write.ts'
export type { BlockCodec } from './quantization/codec.ts'
export { codecs } from './quantization/codecs.ts'
export { float8E4M3 } from './quantization/float8.ts'
export { type LevelLayout, levelLayouts, putLevels } from './quantization/levels.ts'
export { decodeMxfp4Pairs } from './quantization/mxfp4.ts'
export { type GgmlTypeName, ggmlByteLength, ggmlTypes } from './quantization/types.ts'
export {
  byteLength,
  readSafetensorsHeader,
  type SafetensorsDType,
  type SafetensorsHeader,
  safetensorsItemSize,
  type TensorEntry,
  type TensorSource,
  writeSafetensors,
} from './safetensors.ts'
