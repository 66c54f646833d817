// The model a recipe describes, once the corpus is known.

import { resolve } from 'node:path'
import { ConfigError } from '../../errors.ts'
import {
  type CausalLM,
  MistralForCausalLM,
  type MixtralConfig,
  MixtralForCausalLM,
  type ModelConfig,
  parseModelConfig,
} from '../../models/index.ts'
import type { Recipe } from './schema.ts'

/** What a corpus's tokenizer decides about a model. */
export interface Vocabulary {
  size: number
  pad: number | undefined
  bos: number | undefined
  eos: number | undefined
}

/**
 * The recipe with everything filled in that follows from the vocabulary, and the path of its corpus from the root, so
 * that a run can be resumed from anywhere: what a run saves. Changes nothing.
 */
export function resolveRecipe(recipe: Recipe, vocabulary: Vocabulary): Recipe {
  const { model, data } = recipe
  const vocabSize = model.vocab_size ?? vocabulary.size
  if (vocabSize < vocabulary.size) {
    throw new ConfigError(`${vocabSize} is below the ${vocabulary.size} tokens of the corpus's tokenizer`, {
      path: 'model.vocab_size',
    })
  }
  const isMoe = model.type === 'mixtral'
  return {
    ...recipe,
    model: {
      ...model,
      vocab_size: vocabSize,
      num_key_value_heads: model.num_key_value_heads ?? model.num_attention_heads,
      head_dim: model.head_dim ?? model.hidden_size / model.num_attention_heads,
      max_position_embeddings: model.max_position_embeddings ?? data.sequenceLength,
    },
    data: { ...data, path: resolve(data.path) },
    ...(isMoe && {
      router: recipe.router ?? { kind: 'top-k', k: 2 },
      dispatch: recipe.dispatch ?? { kind: 'dropless' },
    }),
  }
}

/** The config.json of a resolved recipe. */
export function modelConfigOf({ model, router, losses }: Recipe, vocabulary: Vocabulary): ModelConfig {
  const { type, ...fields } = model
  const moe = {
    num_experts_per_tok: router?.k,
    router_aux_loss_coef: losses.balance.kind === 'mixtral-hf' ? losses.balance.coefficient : 0,
  }
  // Written out, so that no default of HF's stands in.
  const ids = {
    pad_token_id: vocabulary.pad ?? null,
    bos_token_id: vocabulary.bos ?? null,
    eos_token_id: vocabulary.eos ?? null,
  }
  return parseModelConfig({ model_type: type, ...fields, ...ids, ...(type === 'mixtral' && moe) }, 'model')
}

/** A fresh model of a resolved recipe. */
export function createModel(recipe: Recipe, config: ModelConfig): CausalLM {
  if (config.model_type === 'mistral') return new MistralForCausalLM(config)
  return new MixtralForCausalLM(config as MixtralConfig, recipe.dispatch ?? { kind: 'dropless' })
}
