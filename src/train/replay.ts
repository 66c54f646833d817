// A recorded training run, step by step: the whole of forward, losses, backward, clipping and AdamW against another
// implementation.

import {
  type AnyModelConfig,
  type CausalLM,
  type Check,
  compare,
  openModel,
  openTensors,
  recordedTensor,
  shiftedLoss,
  tokenRoutings,
  tokensOf,
} from '../models/index.ts'
import { hfBalanceLoss } from '../moe/index.ts'
import { type Tensor, tidy } from '../torch/index.ts'
import { AdamW } from './optimizer/adamw.ts'
import { clipGradients, gradientNorm } from './optimizer/clip.ts'

/** What the recording used: HF's defaults for a small run, decay on every parameter. */
const settings = { learningRate: 1e-3, betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0.1, clip: 1 } as const

interface StepRecord {
  loss: number
  aux: number
  norm: number
}

/**
 * Replays `batches` [steps, B, T] (labels are the inputs) and compares `loss`, `aux_loss` and `grad_norm` of every
 * step, and the first step's gradients `grad.<path>`.
 *
 * @param tolerance allowed relative difference
 */
export function replayTraining(folder: string, reference: string, tolerance: number): Check[] {
  const recorded = openTensors(reference)
  const opened = openModel(folder)
  const coefficient = auxiliaryCoefficient(opened.config)
  const model = opened.load({ kind: 'decoder' }).train()
  const optimizer = makeOptimizer(model)
  const steps: StepRecord[] = []
  let gradients: Check[] = []
  for (const batch of recordedTensor(recorded, 'batches', reference).unbind()) {
    steps.push(tidy(() => backward(model, batch, coefficient)))
    if (steps.length === 1) gradients = compareGradients(model, recorded)
    const { norm } = steps.at(-1) as StepRecord
    clipGradients(model.parameters(), norm, settings.clip)
    optimizer.update(settings.learningRate)
  }
  const series = (name: string, pick: (step: StepRecord) => number): Omit<Check, 'ok'> =>
    compareEach(name, steps.map(pick), recordedTensor(recorded, name, reference))
  const curves = [
    series('loss', s => s.loss),
    series('aux_loss', s => s.aux),
    series('grad_norm', s => s.norm),
  ]
  return [...curves, ...gradients].map(check => ({ ...check, ok: check.relative <= tolerance }))
}

function makeOptimizer(model: CausalLM): AdamW {
  const { betas, epsilon, weightDecay } = settings
  const everything = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay }
  return new AdamW([everything], { betas, epsilon })
}

/** What a model's config weighs HF's balance loss by; 0 for those that balance without one. */
function auxiliaryCoefficient(config: AnyModelConfig): number {
  return 'router_aux_loss_coef' in config ? config.router_aux_loss_coef : 0
}

function backward(model: CausalLM, ids: Tensor, coefficient: number): StepRecord {
  model.zeroGrad()
  const { logits, routings } = model.forward(tokensOf(ids))
  const aux = hfBalanceLoss(tokenRoutings(routings))
  const loss = shiftedLoss(logits, ids).add(aux, coefficient)
  loss.backward()
  return { loss: loss.item(), aux: aux.item(), norm: gradientNorm(model.parameters()).item() }
}

function compareGradients(model: CausalLM, recorded: ReadonlyMap<string, Tensor>): Check[] {
  const parameters = model.namedParameters()
  return [...recorded].flatMap(([name, wanted]) => {
    if (!name.startsWith('grad.')) return []
    const gradient = parameters.get(name.slice('grad.'.length))?.grad
    const none = {
      name,
      absolute: Number.NaN,
      relative: Number.NaN,
      problem: 'the model has no such gradient',
    }
    return [{ ...(gradient ? compare(name, gradient, wanted) : none), ok: false }]
  })
}

/** The worst step of a curve, each relative to its own recorded value. */
function compareEach(name: string, values: readonly number[], recorded: Tensor): Omit<Check, 'ok'> {
  const wanted = Array.from(recorded.toTypedArray(), Number)
  const differences = wanted.map((value, i) => Math.abs((values[i] ?? Number.NaN) - value))
  return {
    name,
    absolute: Math.max(...differences),
    relative: Math.max(...differences.map((difference, i) => difference / Math.abs(wanted[i] ?? 1))),
  }
}
