// The recipe with which a model that is there is trained further, where its user says no more than model and data.

import { openCorpus } from '../../data/index.ts'
import { type AnyModelConfig, isEncoderDecoder, openModel } from '../../models/index.ts'
import { modelText } from '../examples.ts'
import { withOverrides } from './load.ts'
import type { Recipe } from './schema.ts'

export interface FinetuneOptions {
  /** A model folder, a run, a GGUF file or `org/name`. */
  model: string
  /** A corpus, encoded with the model's tokenizer. */
  data: string
  /** Times that the data is seen. Default 1. */
  epochs?: number
  /** `path=value` settings, as recipes have them. */
  overrides?: readonly string[]
}

const sequenceLength = 512
const batchSize = 8

/**
 * Fine-tunes everything, slowly: the model's own losses, a low rate that warms up and decays, no weight decay, validation ten
 * times. `trained` and `adapter` say otherwise.
 *
 * @throws ConfigError naming the setting
 */
export function finetuneRecipe({ model, data, epochs = 1, overrides = [] }: FinetuneOptions): Recipe {
  const opened = openModel(model)
  const longest =
    'max_position_embeddings' in opened.config ? opened.config.max_position_embeddings : sequenceLength
  const { answers } = openCorpus(data).manifest
  const arePairs = answers?.together === 2
  const fillsSpans = isEncoderDecoder(opened.config) && !answers
  const hasAdapter = overrides.some(override => override.startsWith('adapter'))
  const rate = (hasAdapter ? 2e-4 : 2e-5) / (arePairs ? 20 : 1)
  const raw = {
    name: 'finetune',
    model: { from: model },
    data: { path: data, sequenceLength: Math.min(sequenceLength, longest), batchSize },
    precision: 'auto',
    ...(arePairs ? { objective: 'dpo' } : fillsSpans ? { objective: 'span-corruption' } : {}),
    optimizer: { kind: 'adamw', learningRate: rate, weightDecay: 0 },
    steps: 1, // until the data has been counted
  }
  const draft = withOverrides(raw, overrides, model)
  const steps = overrides.some(override => override.startsWith('steps='))
    ? draft.steps
    : stepsOf(draft, epochs, opened.config)
  const every = Math.max(1, Math.ceil(steps / 10))
  const paced = {
    ...raw,
    steps,
    schedule: { kind: 'cosine', warmup: Math.min(100, Math.floor(steps / 20)) },
    evaluation: { every },
    checkpoint: { every: Math.max(every, 100) },
    logging: { every: Math.min(10, every) },
  }
  return withOverrides(paced, overrides, model)
}

/** Steps in which the training text is seen so often. */
function stepsOf(
  { data, gradientAccumulation, objective }: Recipe,
  epochs: number,
  config: AnyModelConfig,
): number {
  const text = modelText(openCorpus(data.path), 'train', {
    ...data,
    config,
    ...(objective.kind === 'span-corruption' && { corruption: objective }),
  })
  text.dispose()
  return Math.max(1, Math.ceil((epochs * text.count) / (data.batchSize * gradientAccumulation)))
}
