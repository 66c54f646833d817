// One optimizer step: forward and backward of each micro-batch, clipping, update. Tensors of a
// micro-batch are freed when its gradients are there.

import type { TrainableModel } from '../models/index.ts'
import { expertUsage, type RoutingStats, routingStats, type UsageStats, usageStats } from '../moe/index.ts'
import type { Parameter } from '../nn/index.ts'
import { autocast, tidy } from '../torch/index.ts'
import type { SharedTraining } from './mesh/shared-training.ts'
import { type Batch, computeObjective, type Losses, type Objective } from './objective.ts'
import { gradientNorm } from './optimizer/clip.ts'
import type { Optimizer } from './optimizer/optimizer.ts'
import type { LossScaler } from './precision.ts'
import type { Preference } from './preference.ts'

export interface StepOptions {
  losses: Losses
  /** What is learnt of pairs. Default: every target, as likely as can be. */
  preference?: Preference | null
  learningRate: number
  /** The learning rate as a share of its peak, at which routers adapt what no gradient trains; null: they do not. Default 1. */
  pace?: number | null
  /** What the optimizer moves, whose gradients count for their norm. Default: all parameters. */
  trained?: readonly Parameter[]
  /** Largest gradient norm; null: any. */
  clip: number | null
  /** Compute forward in this type where weights are f32. Default: in theirs. */
  autocast?: 'bf16' | 'f16' | null
  /** For f16. Default: none. */
  lossScaler?: LossScaler | null
  /** Who else trains the model, on other parts of each micro-batch. Default: nobody. */
  shared?: SharedTraining | null
  /** Whether to look at losses, routing and the gradient's norm: each number that is read waits for the device. */
  observe: boolean
}

export interface StepResult {
  /** Norm of the gradient before clipping; null when it stayed on the device. */
  gradientNorm: number | null
  /** Whether the parameters moved: a gradient with NaN or infinity is dropped. Null when only the device knows. */
  updated: boolean | null
  /** `total` and each loss by name, of micro-batches each by its share, when observed. */
  losses?: Record<string, number>
  /** Of each layer with a router in the last micro-batch, when observed. */
  routing?: (RoutingStats & { layer: number })[]
  /** Of each PEER layer in it. */
  retrieval?: (UsageStats & { layer: number })[]
}

/** Trains on micro-batches, whose gradients are averaged by what each counts. */
export function trainStep(
  model: TrainableModel,
  optimizer: Optimizer,
  batches: Iterable<Batch>,
  options: StepOptions,
): StepResult {
  const { shared = null } = options
  return shared
    ? shared.within(() => oneStep(model, optimizer, batches, options))
    : oneStep(model, optimizer, batches, options)
}

function oneStep(
  model: TrainableModel,
  optimizer: Optimizer,
  batches: Iterable<Batch>,
  options: StepOptions,
): StepResult {
  const { trained = model.parameters(), lossScaler = null, shared = null, observe } = options
  model.zeroGrad()
  const all = [...batches]
  const shares = sharesOf(all, shared)
  const seen = all.flatMap((batch, i) =>
    tidy(() => {
      const share = shares[i] as number
      const objective = backward(model, batch, share, options)
      return observe ? look(objective, share) : []
    }),
  )
  shared?.sumGradients(trained)
  const result = tidy(() => update(trained, optimizer, options))
  if (result.updated !== null) lossScaler?.note(result.updated)
  adaptRouters(model, result.updated, options)
  const observed = merged(seen)
  return {
    ...result,
    ...observed,
    ...(shared && observed.losses && { losses: shared.totalLosses(observed.losses) }),
  }
}

/** What each micro-batch counts in a step: as all others, or by what it says that its mean is over. */
function sharesOf(batches: readonly Batch[], shared: SharedTraining | null): number[] {
  const here = batches.reduce((sum, { scored = 0 }) => sum + scored, 0)
  const total = shared?.total(here) ?? here
  const parts = batches.length * (shared?.batch.size ?? 1)
  return batches.map(({ scored }) => (scored === undefined || total === 0 ? 1 / parts : scored / total))
}

/** Lets routers adapt to a step, or forget one that moved nothing. */
export function adaptRouters(
  model: TrainableModel,
  updated: boolean | null,
  { pace = 1 }: Pick<StepOptions, 'pace'>,
): void {
  if (updated === false || pace === null) model.discard()
  else model.adapt(pace)
}

/** Of a micro-batch, with its share in its step's losses. */
type Observed = Required<Pick<StepResult, 'losses' | 'routing' | 'retrieval'>>

/** Adds the gradients of a micro-batch, which counts as such a share of its step, to the parameters'. */
export function backward(
  model: TrainableModel,
  batch: Batch,
  share: number,
  options: StepOptions,
): Objective {
  const { losses, preference = null, autocast: narrow = null, lossScaler } = options
  const compute = (): Objective => computeObjective(model, batch, losses, preference)
  const objective = narrow ? autocast(batch.targets.device, narrow, compute) : compute()
  objective.total.mul((lossScaler?.scale ?? 1) * share).backward()
  return objective
}

/** What a step looked like, of its micro-batches, which count alike, and the norm of their gradients. */
export function describeStep(objectives: readonly Objective[], norm: number): StepResult {
  const seen = objectives.map(objective => tidy(() => look(objective, 1 / objectives.length)))
  return { gradientNorm: norm, updated: Number.isFinite(norm), ...merged(seen) }
}

function look({ total, terms, routings }: Objective, share: number): Observed {
  const named = { total, ...terms }
  return {
    losses: Object.fromEntries(Object.entries(named).map(([name, value]) => [name, share * value.item()])),
    routing: routings.flatMap(({ layer, chosen, served }) =>
      chosen.kind === 'peer' || served.kind === 'peer' ? [] : { layer, ...routingStats(chosen, served) },
    ),
    retrieval: routings.flatMap(({ layer, chosen }) =>
      chosen.kind === 'peer' ? { layer, ...usageStats(expertUsage(chosen)) } : [],
    ),
  }
}

/**
 * On a device the norm is read only when somebody looks, or when the loss scale depends on it; a bad step that is not seen moves
 * nothing all the same.
 */
function update(
  parameters: readonly Parameter[],
  optimizer: Optimizer,
  { learningRate, clip, lossScaler = null, shared = null, observe }: StepOptions,
): Pick<StepResult, 'gradientNorm' | 'updated'> {
  const norm = shared?.gradientNorm(parameters) ?? gradientNorm(parameters)
  const lossScale = lossScaler?.scale ?? 1
  const isSeen = norm.device === 'cpu' || observe || lossScaler !== null
  const size = isSeen ? norm.item() / lossScale : null
  const isBad = size !== null && !Number.isFinite(size)
  if (!isBad) optimizer.update(learningRate, { norm, clip, lossScale })
  return { gradientNorm: size, updated: isSeen ? !isBad : null }
}

/** Shares of losses added up, the rest of the last micro-batch; nothing when nobody looked. */
function merged(seen: readonly Observed[]): Partial<Observed> {
  const last = seen.at(-1)
  if (!last) return {}
  const sum = (name: string): number => seen.reduce((total, { losses }) => total + (losses[name] ?? 0), 0)
  return { ...last, losses: Object.fromEntries(Object.keys(last.losses).map(name => [name, sum(name)])) }
}
