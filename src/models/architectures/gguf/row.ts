// What a model type offers to be read from GGUF and written to it.

import type { CheckpointPiece } from '../architecture.ts'
import type { DecoderConfig } from '../config.ts'
import type { ModelType } from '../table.ts'
import type { MetadataReader, MetadataWriter } from './metadata.ts'

/** A model type in GGUF. */
export interface GgufArchitecture<C extends DecoderConfig = DecoderConfig> {
  /** `general.architecture` of such files. */
  name: string
  /** Contents of the config.json that a file stands for, without what decoderFields() has. */
  configFields(meta: MetadataReader): Record<string, unknown>
  modelType(meta: MetadataReader): ModelType
  /** Writes what configFields() reads. Throws ConfigError for what the format cannot say. */
  writeFields(to: MetadataWriter, config: C): void
  /** Ways in which files store the parameters, the one that is written first. */
  layouts(config: C): CheckpointPiece[][]
}
