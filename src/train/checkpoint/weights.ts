// What a checkpoint holds of a model: all of it, or the adapters around a base that is elsewhere.

import {
  type Adapted,
  type AnyModelConfig,
  loadAdapters,
  loadWeights,
  saveAdapters,
  saveModel,
  type TrainableModel,
} from '../../models/index.ts'

export interface CheckpointWeights {
  save(folder: string): void
  /** @throws FormatError when they do not fit, before any is changed */
  load(folder: string): void
}

/** A Hugging Face model folder. */
export function wholeWeights(model: TrainableModel, config: AnyModelConfig): CheckpointWeights {
  return {
    save: folder => void saveModel(folder, model, config),
    load: folder => loadWeights(folder, model),
  }
}

/** A folder of PEFT's. */
export function adapterWeights(adapted: Adapted): CheckpointWeights {
  return {
    save: folder => saveAdapters(folder, adapted),
    load: folder => loadAdapters(folder, adapted),
  }
}
