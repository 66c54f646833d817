// A recipe checked, alone and for combinations that cannot be.

import type { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { hasConstantWeight, ownLossCoefficients, requireCausal, tokensChoose } from '../../moe/index.ts'
import { issueText } from '../../schema-issue.ts'
import { closest, knownKeys } from './known-keys.ts'
import { withOwnSettings } from './opened.ts'
import {
  hasExpertLayers,
  isOpened,
  isStack,
  type Recipe,
  recipeSchema,
  type StackSettings,
} from './schema.ts'

/** Throws ConfigError naming the path, the value and what is allowed. */
export function checkRecipe(raw: unknown, source: string): Recipe {
  const complete = withOwnSettings(raw)
  const result = recipeSchema.safeParse(complete)
  if (!result.success) throw toConfigError(result.error, complete, source)
  for (const check of [
    checkRouting,
    checkSampling,
    checkHeads,
    checkSchedule,
    checkLengths,
    checkGraph,
    checkObjective,
    checkLocalized,
  ])
    check(result.data)
  return result.data
}

function toConfigError(error: z.ZodError, raw: unknown, source: string): ConfigError {
  const [issue] = error.issues
  if (!issue) return new ConfigError('is not a recipe', { path: source })
  const keys = issue.path.map(String)
  if (issue.code !== 'unrecognized_keys') {
    return new ConfigError(issueText(issue, raw), { path: keys.join('.') })
  }
  const [unknown = ''] = issue.keys
  const known = knownKeys(keys, raw)
  const near = closest(unknown, known)
  const hint = near ? `; did you mean ${near}?` : known.length > 0 ? `; known here: ${known.join(', ')}` : ''
  return new ConfigError(`unknown key${hint}`, { path: [...keys, unknown].join('.') })
}

function refuse(path: string, message: string): never {
  throw new ConfigError(message, { path })
}

function checkGraph({ graph, losses, precision, recompute }: Recipe): void {
  if (!graph) return
  if (recompute !== 'none')
    refuse('recompute', 'puts random numbers back, which a graph cannot: set it to none, or graph to false')
  if (losses.balanceWarmup > 0)
    refuse(
      'losses.balanceWarmup',
      'changes the losses from step to step, which a graph cannot: set it to 0, or graph to false',
    )
  if ('dtype' in precision && precision.dtype === 'f16')
    refuse(
      'precision.dtype',
      'f16 looks at each step to scale the loss, which a graph cannot: use bf16, or set graph to false',
    )
}

function checkObjective({ objective, losses }: Recipe): void {
  if (objective.kind === 'dpo' && losses.labelSmoothing > 0)
    refuse('losses.labelSmoothing', 'is for likelihood, and dpo has one of its own: set objective.smoothing')
}

/** Localized balance is of the gates of soft mixtures, as they were in the one forward pass that has a gradient. */
function checkLocalized({ losses, adapter, recompute, graph }: Recipe): void {
  if (!losses.localized) return
  if (adapter?.kind !== 'molora' && adapter?.kind !== 'mov')
    refuse(
      'losses.localized',
      'is for mixtures of adapters: set adapter.kind to molora or mov, or leave it out',
    )
  if (recompute !== 'none') refuse('recompute', 'is not for losses.localized: set it to none')
  if (graph) refuse('graph', 'is not for losses.localized: set it to false')
}

/** What a model that is opened has of its own. */
function checkOpened({ model, router, dispatch, init, adapter, precision }: Recipe): void {
  const own = "is the opened model's own: leave it out"
  if (router) refuse('router', own)
  if (dispatch) refuse('dispatch', own)
  if (init.kind !== 'normal') refuse('init', own)
  if (!isOpened(model) || model.weights === 'decoded') return
  if (!adapter)
    refuse(
      'model.weights',
      'stored is for adapters around a model that stays: set adapter, or this to decoded',
    )
  if (precision.kind === 'half')
    refuse(
      'precision',
      'half converts all weights, and with model.weights stored they stay: use autocast or f32',
    )
}

function checkRouting({ model, router, dispatch, losses, ...rest }: Recipe): void {
  if (isOpened(model)) {
    checkOpened({ model, router, dispatch, losses, ...rest })
    return
  }
  if (rest.adapter)
    refuse('adapter', 'is for a model that is opened, with model.from: a new one has nothing to adapt')
  if (!isStack(model)) {
    const own = `is ${model.type}'s own, by the fields of model: remove it`
    if (router) refuse('router', own)
    if (dispatch) refuse('dispatch', own)
    checkOwnLosses(model.type, {}, losses.router)
    return
  }
  if (model.type === 'mistral') {
    if (router) refuse('router', 'mistral is dense and has no router; remove it')
    if (dispatch) refuse('dispatch', 'mistral is dense and dispatches nothing; remove it')
    return
  }
  if (hasExpertLayers(model) && model.experts.kind === 'peer') {
    if (router) refuse('router', 'peer retrieves experts by product keys and has no router; remove it')
    if (dispatch) refuse('dispatch', 'peer sends no tokens to experts; remove it')
    checkOwnLosses('peer', {}, losses.router)
    return
  }
  checkDispatch({ model, router, dispatch })
  checkOwnLosses(router?.kind ?? 'top-k', router ? ownLossCoefficients(router) : {}, losses.router)
  if (!router) return
  const experts = model.num_local_experts
  if ('k' in router && router.kind !== 'null-experts' && router.k > experts)
    refuse('router.k', `${router.k} exceeds model.num_local_experts, ${experts}`)
  if (hasConstantWeight(router) && experts > 1) {
    refuse(
      'router.k',
      '1 gives the chosen expert the constant weight 1, so that the router learns nothing from the text: use 2 or ' +
        'more, or with model.type switchyard_moe the router { kind: top-k, k: 1, normalize: false }, as Switch has it',
    )
  }
  if (model.type === 'mixtral') checkMixtralRouter(router)
  else if (model.type === 'switchyard_moe') requireCausal(router, 'router.kind')
  else if (router.kind === 'reinforce') {
    refuse(
      'router.kind',
      "reinforce is rewarded by each token's own loss, which an encoder has of masked ones only",
    )
  }
}

function checkDispatch({
  model,
  router,
  dispatch,
}: { model: StackSettings } & Pick<Recipe, 'router' | 'dispatch'>): void {
  if (!dispatch) return
  if (router && !tokensChoose(router) && dispatch.kind !== 'dropless') {
    refuse(
      'dispatch.kind',
      `${dispatch.kind} is for tokens that choose experts; with ${router.kind} they do not`,
    )
  }
  if (dispatch.kind !== 'capacity' || model.type === 'switchyard_moe_encoder') return
  if (dispatch.policy !== 'prioritized' && dispatch.policy !== 'probability') return
  refuse(
    'dispatch.policy',
    `${dispatch.policy} lets later tokens push out earlier ones, by which a decoder would see what it is to predict: ` +
      'use position',
  )
}

/** An encoder writes no text, and a prompt that is sampled from in training belongs to no domain. */
function checkSampling({ model, router, sampling }: Recipe): void {
  if (model.type === 'switchyard_moe_encoder' && sampling.prompts.length > 0)
    refuse('sampling.prompts', 'an encoder cannot continue a text; remove them')
  if (router?.kind === 'task' && sampling.every > 0)
    refuse('sampling.every', 'a router that goes by tasks cannot sample while it trains: set 0')
}

/** Names in losses.router are those of the router: all others are refused. */
function checkOwnLosses(kind: string, own: Record<string, number>, given: Record<string, number>): void {
  const known = Object.keys(own)
  const unknown = Object.keys(given).find(name => !known.includes(name))
  if (unknown === undefined) return
  const has = known.length > 0 ? `has ${known.join(', ')}` : 'has no losses of its own'
  refuse(`losses.router.${unknown}`, `unknown: ${kind} ${has}`)
}

/** Mixtral is one rule; another router makes another model. */
function checkMixtralRouter(router: NonNullable<Recipe['router']>): void {
  if (router.kind === 'top-k' && router.normalize && router.jitter === 0 && !router.expertDropout) return
  const setting = router.kind === 'top-k' ? 'this setting of top-k' : router.kind
  refuse('router.kind', `${setting} is not Mixtral's rule: set model.type to switchyard_moe`)
}

function checkHeads({ model }: Recipe): void {
  if (!isStack(model)) return
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: groups = heads } = model
  if (model.head_dim === undefined && hidden % heads !== 0) {
    refuse('model.hidden_size', `${hidden} is not divisible by num_attention_heads, ${heads}`)
  }
  const width = model.head_dim ?? hidden / heads
  if (width % 2 !== 0)
    refuse('model.head_dim', `${width} is odd; rotary embeddings turn pairs, so it must be even`)
  if (heads % groups !== 0) {
    refuse('model.num_key_value_heads', `${groups} does not divide num_attention_heads, ${heads}`)
  }
}

function checkSchedule({ schedule, steps, sampling }: Recipe): void {
  if (schedule.warmup > steps) refuse('schedule.warmup', `${schedule.warmup} exceeds steps, ${steps}`)
  if (schedule.kind === 'wsd' && schedule.warmup + schedule.decay > steps) {
    refuse(
      'schedule.decay',
      `${schedule.decay} after a warm-up of ${schedule.warmup} exceeds steps, ${steps}`,
    )
  }
  if (sampling.every > 0 && sampling.prompts.length === 0) {
    refuse(
      'sampling.prompts',
      `is empty, though sampling.every is ${sampling.every}: give a prompt, or every 0`,
    )
  }
}

function checkLengths({ model, data }: Recipe): void {
  if (!('max_position_embeddings' in model)) return
  const positions = model.max_position_embeddings ?? data.sequenceLength
  if (positions >= data.sequenceLength) return
  refuse('model.max_position_embeddings', `${positions} is below data.sequenceLength, ${data.sequenceLength}`)
}
