// The model a recipe describes, once the corpus is known.

import { resolve } from 'node:path'
import { ConfigError } from '../../errors.ts'
import {
  architectureOf,
  type CausalLM,
  MistralForCausalLM,
  MixtralForCausalLM,
  type ModelConfig,
  parseModelConfig,
  SwitchyardMoeForCausalLM,
} from '../../models/index.ts'
import { ownLossCoefficients, type RouterConfig, routerSchema } from '../../moe/index.ts'
import type { Recipe } from './schema.ts'

/** What a corpus decides about a model. */
export interface Vocabulary {
  size: number
  /** Names of the corpus's domains, the tasks of a router that names none. */
  domains: readonly string[]
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
  const isMoe = model.type !== 'mistral'
  const router = withTasks(recipe.router ?? routerSchema.parse({}), vocabulary.domains)
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
      router,
      losses: { ...recipe.losses, router: { ...ownLossCoefficients(router), ...recipe.losses.router } },
      dispatch: recipe.dispatch ?? { kind: 'dropless' },
    }),
  }
}

function withTasks(router: RouterConfig, domains: readonly string[]): RouterConfig {
  return router.kind === 'task' ? { ...router, tasks: router.tasks ?? [...domains] } : router
}

/** The config.json of a resolved recipe. */
export function modelConfigOf({ model, router, losses }: Recipe, vocabulary: Vocabulary): ModelConfig {
  const { type, ...fields } = model
  const moe = {
    num_experts_per_tok: router?.kind === 'top-k' ? router.k : undefined,
    router_aux_loss_coef: losses.balance.kind === 'mixtral-hf' ? losses.balance.coefficient : 0,
  }
  // Written out, so that no default of HF's stands in.
  const ids = {
    pad_token_id: vocabulary.pad ?? null,
    bos_token_id: vocabulary.bos ?? null,
    eos_token_id: vocabulary.eos ?? null,
  }
  const own = { router, moe_layers: layersOf(model) }
  const extra = type === 'mixtral' ? moe : type === 'switchyard_moe' ? own : {}
  return parseModelConfig({ model_type: type, ...fields, ...ids, ...extra }, 'model')
}

/** The layers that have experts. */
function layersOf(model: Recipe['model']): number[] {
  const all = Array.from({ length: model.num_hidden_layers }, (_, layer) => layer)
  if (model.type !== 'switchyard_moe' || model.moe_layers === 'all') return all
  const pattern = model.moe_layers
  const chosen = Array.isArray(pattern)
    ? pattern
    : 'every' in pattern
      ? all.filter(layer => (layer + 1) % pattern.every === 0)
      : all.filter(layer => layer >= pattern.after)
  if (chosen.length > 0) return chosen
  throw new ConfigError(
    `leaves none of the ${all.length} layers with experts; for a dense model set type: mistral`,
    {
      path: 'model.moe_layers',
    },
  )
}

/** A fresh model of a resolved recipe. */
export function createModel(recipe: Recipe, config: ModelConfig): CausalLM {
  const dispatch = recipe.dispatch ?? { kind: 'dropless' }
  switch (config.model_type) {
    case 'mistral':
      return new MistralForCausalLM(config)
    case 'mixtral':
      return new MixtralForCausalLM(config, dispatch)
    case 'switchyard_moe':
      return new SwitchyardMoeForCausalLM(config, dispatch)
    default:
      return architectureOf(config).create(config)
  }
}
