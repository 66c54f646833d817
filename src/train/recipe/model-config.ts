// The model a recipe describes, once the corpus is known.

import { resolve } from 'node:path'
import { ConfigError } from '../../errors.ts'
import {
  type AnyModelConfig,
  createModel,
  findModel,
  parseModelConfig,
  standardBuild,
  type TrainableModel,
} from '../../models/index.ts'
import {
  createDispatch,
  ownLossCoefficients,
  type RouterConfig,
  routerSchema,
  tokensChoose,
} from '../../moe/index.ts'
import type { Device } from '../../torch/index.ts'
import { resolvePrecision } from '../precision.ts'
import { completeSizes, type EncoderDecoderSettings, encoderDecoderConfig } from './encoder-decoders.ts'
import { initialize } from './initialize.ts'
import { loadOpened, openedConfig } from './opened.ts'
import { hasExpertLayers, isOpened, isStack, type Recipe, type StackSettings } from './schema.ts'

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
 * The recipe with everything filled in that follows from vocabulary and machine, and its paths from the root, so
 * that a run can be resumed from anywhere: what a run saves. Changes nothing.
 */
export function resolveRecipe(recipe: Recipe, vocabulary: Vocabulary): Recipe {
  const { model, data, precision, device } = recipe
  const settled = {
    ...recipe,
    data: { ...data, path: resolve(data.path) },
    precision: resolvePrecision(precision, device as Device),
  }
  if (isOpened(model)) return { ...settled, model: { ...model, from: resolve(findModel(model.from)) } }
  const vocab_size = vocabSizeOf(model, vocabulary)
  if (!isStack(model)) return { ...settled, model: { ...completeSizes(model), vocab_size } }
  return {
    ...settled,
    model: {
      ...model,
      vocab_size,
      num_key_value_heads: model.num_key_value_heads ?? model.num_attention_heads,
      head_dim: model.head_dim ?? model.hidden_size / model.num_attention_heads,
      max_position_embeddings: model.max_position_embeddings ?? data.sequenceLength,
    },
    ...resolveRouting({ ...recipe, model }, vocabulary.domains),
  }
}

/** An encoder has a token more than its tokenizer: the mask, after all others. */
function vocabSizeOf(model: StackSettings | EncoderDecoderSettings, { size }: Vocabulary): number {
  const least = model.type === 'switchyard_moe_encoder' ? size + 1 : size
  if (model.vocab_size === undefined || model.vocab_size >= least) return model.vocab_size ?? least
  const mask = least > size ? ' and the mask token' : ''
  throw new ConfigError(`${model.vocab_size} is below the ${size} tokens of the corpus's tokenizer${mask}`, {
    path: 'model.vocab_size',
  })
}

/** What routes, and which losses have a meaning for it: balance is of tokens that choose. */
function resolveRouting(
  recipe: Recipe & { model: StackSettings },
  domains: readonly string[],
): Partial<Pick<Recipe, 'router' | 'losses' | 'dispatch'>> {
  const { model, losses } = recipe
  const unbalanced = { ...losses, balance: { kind: 'none' } } as const
  if (model.type === 'mistral') return {}
  if (hasExpertLayers(model) && model.experts.kind === 'peer') return { losses: unbalanced }
  const router = withTasks(recipe.router ?? routerSchema.parse({}), domains)
  return {
    router,
    losses: {
      ...(tokensChoose(router) ? losses : unbalanced),
      router: { ...ownLossCoefficients(router), ...losses.router },
    },
    dispatch: recipe.dispatch ?? { kind: 'dropless' },
  }
}

function withTasks(router: RouterConfig, domains: readonly string[]): RouterConfig {
  return router.kind === 'task' ? { ...router, tasks: router.tasks ?? [...domains] } : router
}

/** The config.json of a resolved recipe. */
export function modelConfigOf({ model, router, losses }: Recipe, vocabulary: Vocabulary): AnyModelConfig {
  if (isOpened(model)) return openedConfig(model)
  if (!isStack(model)) return encoderDecoderConfig(model, losses, vocabulary)
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
  const own = { router, moe_layers: layersOf(model), mask_token_id: vocabulary.size }
  const extra = type === 'mixtral' ? moe : hasExpertLayers(model) ? own : {}
  return parseModelConfig({ model_type: type, ...fields, ...ids, ...extra }, 'model')
}

/** The config.json that a recipe comes to with a vocabulary, without its corpus. */
export function recipeConfig(recipe: Recipe, vocabulary: Vocabulary): AnyModelConfig {
  return modelConfigOf(resolveRecipe(recipe, vocabulary), vocabulary)
}

/** The layers that have experts. */
function layersOf(model: StackSettings): number[] {
  const all = Array.from({ length: model.num_hidden_layers }, (_, layer) => layer)
  if (!hasExpertLayers(model) || model.moe_layers === 'all') return all
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

/** The model with which a resolved recipe starts. */
export function firstModel(
  { model: settings, dispatch, init, seed }: Recipe,
  config: AnyModelConfig,
): TrainableModel {
  if (isOpened(settings)) return loadOpened(settings)
  const build = standardBuild(createDispatch(dispatch ?? { kind: 'dropless' }))
  const model = createModel(config, build)
  initialize(model, init, seed)
  return model
}
