// Checkpoint files as byte ranges: no tensors, no native code.

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
