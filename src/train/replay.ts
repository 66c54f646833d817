// A recorded training run, step by step: the whole of forward, losses, backward, clipping and AdamW against another
// implementation.

import {
  type AnyModelConfig,
  type CausalLM,
  type Check,
  compare,
  type EncoderDecoderModelConfig,
  isEncoderDecoder,
  openModel,
  openTensors,
  publishedPiecesOf,
  recordedTensor,
  routerLossesOf,
  shiftedLoss,
  type TrainableModel,
  tokenRoutings,
  tokensOf,
  viewOfPart,
} from '../models/index.ts'
import { hfBalanceLoss } from '../moe/index.ts'
import { type Tensor, tidy } from '../torch/index.ts'
import { computeObjective, lossesSchema } from './objective.ts'
import { AdamW } from './optimizer/adamw.ts'
import { clipGradients, gradientNorm } from './optimizer/clip.ts'
import { pairBatch } from './pairs.ts'

/** What the recording used: HF's defaults for a small run, decay on every parameter. */
const settings = { learningRate: 1e-3, betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0.1, clip: 1 } as const

/** Numbers of a step, by the recording's names. */
type StepRecord = Record<'loss' | 'aux_loss' | 'grad_norm', number> & { z_loss?: number }

/** What a recording holds for each step. */
type RecordedStep = (model: TrainableModel) => { total: Tensor; aux: Tensor; z?: Tensor }

/**
 * Replays a recorded run and compares `loss`, `aux_loss` and `grad_norm` of every step, and the first step's gradients `grad.<name>`, in
 * memory's names or the files'. A decoder learns `batches` [steps, B, T] (labels are the inputs); an encoder-decoder `labels` [steps, B, T]
 * from `sources` [steps, B, S], of which `z_loss` is compared too.
 *
 * @param tolerance allowed relative difference
 */
export function replayTraining(folder: string, reference: string, tolerance: number): Check[] {
  const recorded = openTensors(reference)
  const opened = openModel(folder)
  const take = (name: string): Tensor => recordedTensor(recorded, name, reference)
  const model = opened.load({ kind: isEncoderDecoder(opened.config) ? 'text' : 'decoder' }).train()
  const optimizer = makeOptimizer(model)
  const steps: StepRecord[] = []
  let gradients: Check[] = []
  for (const step of recordedSteps(opened.config, take)) {
    steps.push(tidy(() => backward(model, step)))
    if (steps.length === 1) gradients = compareGradients(model, opened.config, recorded)
    const { grad_norm } = steps.at(-1) as StepRecord
    clipGradients(model.parameters(), grad_norm, settings.clip)
    optimizer.update(settings.learningRate)
  }
  const names = Object.keys(steps[0] ?? {}) as (keyof StepRecord)[]
  const curves = names.map(name =>
    compareEach(
      name,
      steps.map(step => step[name] ?? Number.NaN),
      take(name),
    ),
  )
  return [...curves, ...gradients].map(check => ({ ...check, ok: check.relative <= tolerance }))
}

function makeOptimizer(model: TrainableModel): AdamW {
  const { betas, epsilon, weightDecay } = settings
  const everything = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay }
  return new AdamW([everything], { betas, epsilon })
}

function recordedSteps(config: AnyModelConfig, take: (name: string) => Tensor): RecordedStep[] {
  if (!isEncoderDecoder(config))
    return take('batches')
      .unbind()
      .map(ids => continued(config, ids))
  const [sources, labels] = [take('sources').unbind(), take('labels').unbind()]
  return labels.map((ids, i) => answered(config, sources[i] as Tensor, ids))
}

/** Each position is scored on the token that follows; a decoder's balance loss is HF's, weighed as its config says. */
function continued(config: AnyModelConfig, ids: Tensor): RecordedStep {
  const coefficient = 'router_aux_loss_coef' in config ? config.router_aux_loss_coef : 0
  return model => {
    const { logits, routings } = (model as CausalLM).forward(tokensOf(ids))
    const aux = hfBalanceLoss(tokenRoutings(routings))
    return { total: shiftedLoss(logits, ids).add(aux, coefficient), aux }
  }
}

function answered(config: AnyModelConfig, source: Tensor, labels: Tensor): RecordedStep {
  const { decoder_start_token_id: start } = config as EncoderDecoderModelConfig
  const [sources, targets] = [source.tolist(), labels.tolist()] as [number[][], number[][]]
  const pairs = targets.map((target, b) => ({ source: sources[b] ?? [], target }))
  const losses = lossesSchema.parse(routerLossesOf(config))
  return model => {
    const { total, terms } = computeObjective(model, pairBatch(pairs, start), losses)
    const { balance, z } = terms
    return { total, aux: balance as Tensor, ...(z && { z }) }
  }
}

function backward(model: TrainableModel, step: RecordedStep): StepRecord {
  model.zeroGrad()
  const { total, aux, z } = step(model)
  total.backward()
  return {
    loss: total.item(),
    aux_loss: aux.item(),
    ...(z && { z_loss: z.item() }),
    grad_norm: gradientNorm(model.parameters()).item(),
  }
}

function compareGradients(
  model: TrainableModel,
  config: AnyModelConfig,
  recorded: ReadonlyMap<string, Tensor>,
): Check[] {
  const gradients = new Map(
    [...model.namedParameters()].flatMap(([path, { grad }]) => (grad ? [[path, grad] as const] : [])),
  )
  for (const piece of publishedPiecesOf(config, model.declarations())) {
    const whole = gradients.get(piece.parameter)
    if (whole) gradients.set(piece.name, viewOfPart(whole, piece))
  }
  return [...recorded].flatMap(([name, wanted]) => {
    if (!name.startsWith('grad.')) return []
    const gradient = gradients.get(name.slice('grad.'.length))
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
