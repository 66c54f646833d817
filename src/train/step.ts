// One optimizer step: forward and backward of each micro-batch, clipping, update. Tensors of a
// micro-batch are freed when its gradients are there.

import type { LanguageModel } from '../models/index.ts'
import { expertUsage, type RoutingStats, routingStats, type UsageStats, usageStats } from '../moe/index.ts'
import { autocast, type Parameter, tidy } from '../torch/index.ts'
import { type Batch, computeObjective, type Losses, type Objective } from './objective.ts'
import type { AdamW } from './optimizer/adamw.ts'
import { clipFactor, gradientNorm } from './optimizer/clip.ts'

export interface StepOptions {
  losses: Losses
  learningRate: number
  /** The learning rate as a share of its peak, at which routers adapt. Default 1. */
  pace?: number
  /** Largest gradient norm; null: any. */
  clip: number | null
  /** Compute forward in bf16 on CUDA. */
  mixed: boolean
  /** Whether to look at losses and routing: each number that is read waits for the device. */
  observe: boolean
}

export interface StepResult {
  /** Norm of the gradient before clipping. */
  gradientNorm: number
  /** Whether the parameters moved: a gradient with NaN or infinity is dropped. */
  updated: boolean
  /** Mean over micro-batches of `total` and of each loss by name, when observed. */
  losses?: Record<string, number>
  /** Of each layer with a router in the last micro-batch, when observed. */
  routing?: (RoutingStats & { layer: number })[]
  /** Of each PEER layer in it. */
  retrieval?: (UsageStats & { layer: number })[]
}

/** Trains on micro-batches, whose gradients are averaged. */
export function trainStep(
  model: LanguageModel,
  optimizer: AdamW,
  batches: Iterable<Batch>,
  { losses, learningRate, pace = 1, clip, mixed, observe }: StepOptions,
): StepResult {
  const parameters = model.parameters()
  model.zeroGrad()
  const seen = [...batches].map((batch, _, all) => backward(model, batch, all.length, losses, mixed, observe))
  const result = update(parameters, optimizer, learningRate, clip)
  if (result.updated) model.adapt(pace)
  else model.discard()
  return observe ? { ...result, ...seen.at(-1), losses: meanLosses(seen) } : result
}

type Observed = Required<Pick<StepResult, 'losses' | 'routing' | 'retrieval'>>

function backward(
  model: LanguageModel,
  batch: Batch,
  batches: number,
  losses: Losses,
  mixed: boolean,
  observe: boolean,
): Observed {
  return tidy(() => {
    const compute = (): Objective => computeObjective(model, batch, losses)
    const objective = mixed ? autocast(batch.inputs.device, 'bf16', compute) : compute()
    objective.total.div(batches).backward()
    return observe ? look(objective) : { losses: {}, routing: [], retrieval: [] }
  })
}

function look({ total, terms, routings }: Objective): Observed {
  const named = { total, ...terms }
  return {
    losses: Object.fromEntries(Object.entries(named).map(([name, value]) => [name, value.item()])),
    routing: routings.flatMap(({ layer, chosen, served }) =>
      chosen.kind === 'peer' || served.kind === 'peer' ? [] : { layer, ...routingStats(chosen, served) },
    ),
    retrieval: routings.flatMap(({ layer, chosen }) =>
      chosen.kind === 'peer' ? { layer, ...usageStats(expertUsage(chosen)) } : [],
    ),
  }
}

function update(
  parameters: readonly Parameter[],
  optimizer: AdamW,
  learningRate: number,
  clip: number | null,
): Pick<StepResult, 'gradientNorm' | 'updated'> {
  const norm = gradientNorm(parameters)
  if (!Number.isFinite(norm)) return { gradientNorm: norm, updated: false }
  optimizer.update(learningRate, clip === null ? 1 : clipFactor(norm, clip))
  return { gradientNorm: norm, updated: true }
}

function meanLosses(seen: readonly Observed[]): Record<string, number> {
  const names = Object.keys(seen[0]?.losses ?? {})
  return Object.fromEntries(
    names.map(name => [
      name,
      seen.reduce((total, { losses }) => total + (losses[name] ?? 0), 0) / seen.length,
    ]),
  )
}
