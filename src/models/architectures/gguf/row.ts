// What a model type offers to be read from GGUF and written to it.

import type { CheckpointPiece, Declarations } from '../architecture.ts'
import type { MetadataReader, MetadataWriter } from './metadata.ts'

/** A model type in GGUF. */
export interface GgufRow<C> {
  /** `general.architecture` of such files. */
  name: string
  /** The `model_type` of a file. */
  modelType(meta: MetadataReader): string
  /** Contents of the config.json that a file stands for, without what decoderFields() has. */
  configFields(meta: MetadataReader): Record<string, unknown>
  /** Writes what configFields() reads. Throws ConfigError for what the format cannot say. */
  writeFields(to: MetadataWriter, config: C): void
  /** Ways in which files store the parameters, the one that is written first. */
  layouts(config: C, declarations: Declarations): CheckpointPiece[][]
}
