// Direct preference optimization: of two answers the preferred one becomes likelier than the other, as measured against the model
// that training started from (arXiv:2305.18290).
// Shapes: N tokens, P pairs.

import { z } from 'zod'
import { invariant } from '../errors.ts'
import { EncoderDecoderLM, type TrainableModel } from '../models/index.ts'
import { autocast, inferenceMode, stack, type Tensor, tensor, tidy } from '../torch/index.ts'
import type { ConversationRows } from './conversation-rows.ts'
import type { Batch, MainObjective } from './objective.ts'

/** `objective: dpo` in recipes. */
export const preferenceSchema = z.strictObject({
  kind: z.literal('dpo'),
  /** How much a step away from the reference costs: the larger, the nearer the model stays. */
  beta: z.number().positive().default(0.1),
  /** Share of pairs whose preference is the wrong way round, as far as is known (section 3 of the cDPO note). */
  smoothing: z.number().min(0).lt(0.5).default(0),
})

/** What pairs are measured by. */
export interface Preference {
  beta: number
  smoothing: number
  /** Log-probabilities of the answers of each pair under the reference: chosen, rejected, chosen ... */
  reference: Float64Array
}

/** How pairs are read without learning. */
export interface ReadingOptions {
  /** Rows at a time. */
  batchSize: number
  /** The type of products, as in training: what is compared must be rounded alike. */
  narrow: 'bf16' | 'f16' | null
  signal?: AbortSignal | undefined
}

/** Reads all rows of a split in evaluation mode, between turns of the event loop. */
async function readRows(
  model: TrainableModel,
  rows: ConversationRows,
  { batchSize, narrow, signal }: ReadingOptions,
  read: (batch: Batch) => void,
): Promise<void> {
  const wasTraining = model.training
  model.eval()
  try {
    for (let start = 0; start < rows.count && !signal?.aborted; start += batchSize) {
      const numbers = Array.from({ length: Math.min(batchSize, rows.count - start) }, (_, i) => start + i)
      const body = (): void => read(rows.batch(numbers, model.device))
      inferenceMode(() => tidy(() => (narrow ? autocast(model.device, narrow, body) : body())))
      await new Promise(setImmediate)
    }
  } finally {
    model.train(wasTraining)
  }
}

/**
 * `-(1 - e) log s(b d) - e log s(-b d)`, `d = log pi(y+) / ref(y+) - log pi(y-) / ref(y-)` (arXiv:2305.18290 equation 7; with `e` its
 * smoothed form), averaged over pairs.
 *
 * @param logProbs of each pair under the model, [P, 2]
 * @param reference the same under the reference, [P, 2]
 */
export function preferenceLoss(
  logProbs: Tensor,
  reference: Tensor,
  { beta, smoothing }: Pick<Preference, 'beta' | 'smoothing'>,
): { loss: Tensor; rewards: Tensor } {
  return tidy(() => {
    const rewards = logProbs.sub(reference).mul(beta) // [P, 2]
    const margin = rewards.select(1, 0).sub(rewards.select(1, 1)) // [P]
    // -log s(x) = log(1 + exp(-x))
    const right = margin.neg().softplus()
    const wrong = margin.softplus()
    return {
      loss: right
        .mul(1 - smoothing)
        .add(wrong, smoothing)
        .mean(),
      rewards,
    }
  })
}

/** The log-probability of each example's targets, [examples]. */
function answerLogProbs(
  model: TrainableModel,
  { inputs, targets }: Batch,
): Pick<MainObjective, 'hidden' | 'sides'> & { logProbs: Tensor } {
  invariant(!(model instanceof EncoderDecoderLM), 'recipes refuse pairs of answers for encoder-decoders')
  return tidy(() => {
    const { losses, hidden, routings } = model.lossOfEach(inputs, targets)
    const sums = inputs.starts
      .slice(0, -1)
      .map((start, i) => losses.narrow(0, start, (inputs.starts[i + 1] ?? 0) - start).sum())
    return {
      logProbs: stack(sums).neg(),
      hidden,
      sides: [{ routings, readers: [model], starts: inputs.starts }],
    }
  })
}

/** The loss, and beside it how often the preferred answer has the larger reward, by how much, and how far the model has gone. */
export function preferenceObjective(
  model: TrainableModel,
  batch: Batch,
  preference: Preference,
): MainObjective {
  return tidy(() => {
    const { logProbs, hidden, sides } = answerLogProbs(model, batch)
    const [pairs, reference] = [logProbs.view([-1, 2]), referenceOf(batch, preference, logProbs)]
    const { loss, rewards } = preferenceLoss(pairs, reference, preference)
    const margins = rewards.detach().select(1, 0).sub(rewards.detach().select(1, 1))
    return {
      total: loss,
      terms: {
        preference: loss,
        accuracy: margins.gt(0).to(loss.dtype).mean(),
        margin: margins.mean(),
        drift: pairs.detach().sub(reference).mean(),
      },
      hidden,
      sides,
    }
  })
}

/** [P, 2] */
function referenceOf({ pairs = [] }: Batch, { reference }: Preference, like: Tensor): Tensor {
  const values = pairs.flatMap(pair => [reference[2 * pair] ?? 0, reference[2 * pair + 1] ?? 0])
  return tensor(Float64Array.from(values), { shape: [pairs.length, 2] })
    .to(like.dtype)
    .to(like.device)
}

/** Log-probabilities of all answers of a split under a model as it is. */
export async function referenceLogProbs(
  model: TrainableModel,
  rows: ConversationRows,
  options: ReadingOptions,
): Promise<Float64Array> {
  const result = new Float64Array(2 * rows.pairs)
  await readRows(model, rows, options, batch => {
    const values = answerLogProbs(model, batch).logProbs.double().tolist() as number[]
    for (const [i, pair] of (batch.pairs ?? []).entries()) {
      result[2 * pair] = values[2 * i] ?? 0
      result[2 * pair + 1] = values[2 * i + 1] ?? 0
    }
  })
  return result
}

/** How well a model tells answers apart. */
export interface PreferenceScore {
  pairs: number
  loss: number
  /** Share of pairs of which the preferred answer has the larger reward. */
  accuracy: number
  /** Mean difference of rewards. */
  margin: number
  /** Mean of log pi / ref over all answers. */
  drift: number
}

/** The score over all rows of a split. */
export async function evaluatePreferences(
  model: TrainableModel,
  rows: ConversationRows,
  preference: Preference,
  options: ReadingOptions,
): Promise<PreferenceScore> {
  const score: PreferenceScore = { pairs: 0, loss: 0, accuracy: 0, margin: 0, drift: 0 }
  const terms = { loss: 'preference', accuracy: 'accuracy', margin: 'margin', drift: 'drift' } as const
  const names = Object.keys(terms) as (keyof typeof terms)[]
  await readRows(model, rows, options, batch => {
    const count = batch.pairs?.length ?? 0
    const { terms: found } = preferenceObjective(model, batch, preference)
    score.pairs += count
    for (const name of names) score[name] += count * (found[terms[name]] as Tensor).item()
  })
  for (const name of names) score[name] /= score.pairs
  return score
}
