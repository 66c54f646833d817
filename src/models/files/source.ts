// Where a model comes from: a folder as Hugging Face lays it out, or a GGUF file.

import type { CheckpointPiece, Declarations } from '../architectures/architecture.ts'
import { declarationsOf, publishedPiecesOf } from '../architectures/create.ts'
import { wholePieces } from '../architectures/published-names.ts'
import { type AnyModelConfig, architectureOf } from '../architectures/table.ts'
import { locateTensors, readAnyConfig } from './folder.ts'
import { isGgufFile, openGguf } from './gguf/open.ts'
import { refuseTooMany } from './promised.ts'
import { type StoredTensor, storedTensors } from './stored-tensor.ts'

export interface ModelSource {
  /** Names the source in errors. */
  path: string
  config: AnyModelConfig
  /** What the config says of the model's tensors. */
  declarations: Declarations
  /** What says how the tensors must be, in errors. */
  described: string
  tensors: Map<string, StoredTensor>
  /** Ways in which the pieces of all parameters may be stored, the usual one first. */
  layouts: CheckpointPiece[][]
  /** Whether a tensor that no parameter takes may be there all the same. */
  isNeedless(name: string): boolean
}

/**
 * Opens a model folder or GGUF file: headers are read and checked, data is not.
 *
 * @throws ConfigError or FormatError when it is no model that can be computed here
 */
export function openSource(path: string): ModelSource {
  return isGgufFile(path) ? openGguf(path) : openFolder(path)
}

function openFolder(path: string): ModelSource {
  const config = readAnyConfig(path)
  const tensors = storedTensors(locateTensors(path))
  const declarations = declarationsOf(config)
  refuseTooMany(declarations, tensors.size, 'config.json', path)
  return {
    path,
    config,
    declarations,
    described: 'config.json',
    tensors,
    // transformers 5 saves some experts stacked, under their paths in memory.
    layouts: [
      publishedPiecesOf(config, declarations),
      architectureOf(config).quantizedPieces?.(declarations) ?? [],
      wholePieces(declarations),
    ],
    isNeedless: name =>
      (config.tie_word_embeddings && name === 'lm_head.weight') || // a copy of the embedding
      name.endsWith('.rotary_emb.inv_freq') || // a buffer of old files
      (architectureOf(config).isIgnored?.(config, name) ?? false),
  }
}
