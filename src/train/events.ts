// What a training run tells while it goes, as plain data.

import type { Evaluation } from './evaluate.ts'
import type { PreferenceScore } from './preference.ts'
import type { Recipe } from './recipe/schema.ts'
import type { StepRecord } from './run-log.ts'
import type { TrainedPart } from './trained/trained.ts'

/** What a run is about to do. */
export interface RunStart {
  run: string
  /** The step that the run goes on from; null for a new one. */
  resumedFrom: number | null
  /** Complete, as it is saved. */
  recipe: Recipe
  modelType: string
  /** The feed-forwards in a few words. */
  feedForward: string
  parameters: number
  /** How many of them are trained, by what they are for. */
  trained: readonly TrainedPart[]
  device: string
  /** The type that most of a step is computed in: `f32`, `bf16` or `f16`. */
  products: string
  /** Bytes that a step takes at most, as planned. */
  memory: number
  /** At most: rows of conversations, and pairs, are seldom full. */
  tokensPerStep: number
  /** Of the corpus: domains, and tokens to train on. */
  domains: readonly string[]
  trainingTokens: number
}

/** What train() tells of, in order. */
export type TrainEvent =
  | ({ type: 'start' } & RunStart)
  | { type: 'warning'; message: string }
  | ({ type: 'step' } & StepRecord)
  | { type: 'evaluation'; step: number; evaluation: Evaluation }
  | { type: 'preferences'; step: number; score: PreferenceScore }
  | { type: 'sample'; step: number; prompt: string; text: string }
  | { type: 'checkpoint'; step: number; folder: string }
  | {
      type: 'end'
      state: 'finished' | 'interrupted'
      step: number
      best: { step: number; loss: number } | null
    }
