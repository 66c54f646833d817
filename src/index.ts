// Switchyard: the whole package. Each floor is also its own entry point, as in `switchyard/torch`.

export * as data from './data/index.ts'
export {
  ConfigError,
  DataError,
  DisposedTensorError,
  FormatError,
  OutOfMemoryError,
  SwitchyardError,
  TorchError,
} from './errors.ts'
export * as formats from './formats/index.ts'
export * as models from './models/index.ts'
export * as moe from './moe/index.ts'
export * as nn from './nn/index.ts'
export * as torch from './torch/index.ts'
export * as train from './train/index.ts'
