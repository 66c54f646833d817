// A training run as a stream of events: who listens decides what to show.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { ConfigError, FormatError, SwitchyardError } from '../errors.ts'
import { generateText } from '../models/index.ts'
import {
  listCheckpoints,
  pruneCheckpoints,
  restoreCheckpoint,
  saveCheckpoint,
} from './checkpoint/checkpoint.ts'
import { type Evaluation, evaluate } from './evaluate.ts'
import type { Recipe } from './recipe/schema.ts'
import { RunFolder } from './run-folder.ts'
import { RunLog, type StepRecord } from './run-log.ts'
import { Trainer } from './trainer.ts'

export type TrainEvent =
  | { type: 'start'; trainer: Trainer; run: string; resumedFrom: number | null }
  | { type: 'warning'; message: string }
  | ({ type: 'step' } & StepRecord)
  | { type: 'evaluation'; step: number; evaluation: Evaluation }
  | { type: 'sample'; step: number; prompt: string; text: string }
  | { type: 'checkpoint'; step: number; folder: string }
  | { type: 'end'; state: 'finished' | 'interrupted'; step: number }

export interface TrainOptions {
  /** The run folder. */
  out: string
  /** Go on with the run in `out`. */
  resume?: boolean
  /** Aborting ends the run after the current step, with a checkpoint. */
  signal?: AbortSignal
}

/**
 * Trains a recipe. The event loop turns between steps.
 *
 * @throws ConfigError before anything is written; SwitchyardError when gradients stay bad
 */
export async function* train(recipe: Recipe, options: TrainOptions): AsyncGenerator<TrainEvent> {
  const session = options.resume ? openRun(recipe, options.out) : startRun(recipe, options.out)
  const { run, trainer } = session
  run.report('running')
  try {
    const resumedFrom = yield* restore(session)
    yield { type: 'start', trainer, run: run.path, resumedFrom }
    yield* steps(session, resumedFrom, options.signal)
  } catch (error) {
    run.report('failed', { error: (error as Error).message, step: trainer.state.step })
    throw error
  } finally {
    trainer.dispose()
  }
}

interface Session {
  run: RunFolder
  trainer: Trainer
  resuming: boolean
  /** The step of the newest checkpoint. */
  savedStep: number
}

function startRun(recipe: Recipe, out: string): Session {
  RunFolder.refuseExisting(out)
  const trainer = new Trainer(recipe)
  return { trainer, run: RunFolder.create(out, trainer.recipe), resuming: false, savedStep: 0 }
}

/** What may differ when a run goes on: it changes nothing that has happened. */
const changeable = new Set([
  'steps',
  'schedule',
  'evaluation',
  'sampling',
  'checkpoint',
  'logging',
  'maxBadSteps',
])

function openRun(recipe: Recipe, out: string): Session {
  const saved = RunFolder.readRecipe(out)
  const trainer = new Trainer(recipe)
  for (const key of Object.keys(saved) as (keyof Recipe)[]) {
    if (changeable.has(key) || isDeepStrictEqual(saved[key], trainer.recipe[key])) continue
    throw new ConfigError(
      `differs from the recipe that ${out} was started with; resume with ${out}/recipe.yaml`,
      {
        path: key,
      },
    )
  }
  return { trainer, run: RunFolder.create(out, trainer.recipe), resuming: true, savedStep: 0 }
}

/** Restores the newest checkpoint that is whole; yields a warning for each one that is not. */
async function* restore(session: Session): AsyncGenerator<TrainEvent, number | null> {
  const { run, trainer, resuming } = session
  if (!resuming) return null
  for (const folder of listCheckpoints(run.checkpoints)) {
    try {
      trainer.state = await restoreCheckpoint(folder, trainer)
      session.savedStep = trainer.state.step
      return trainer.state.step
    } catch (error) {
      if (!(error instanceof FormatError)) throw error
      yield { type: 'warning', message: `skipped a damaged checkpoint: ${error.message}` }
    }
  }
  yield { type: 'warning', message: `${run.path} holds no usable checkpoint: starting over` }
  return 0
}

/** Steps to the end, with what is due between them. */
async function* steps(
  session: Session,
  resumedFrom: number | null,
  signal?: AbortSignal,
): AsyncGenerator<TrainEvent> {
  const { trainer, run } = session
  const { recipe } = trainer
  const log = new RunLog(run, resumedFrom)
  const due = (every: number): boolean => (every > 0 && trainer.state.step % every === 0) || isDone()
  const isDone = (): boolean => trainer.state.step >= recipe.steps
  try {
    while (!isDone() && !signal?.aborted) {
      const record = takeStep(trainer)
      log.step(record)
      yield { type: 'step', ...record }
      const improved = due(recipe.evaluation.every) ? yield* evaluateNow(trainer, log) : false
      if (due(recipe.sampling.every)) yield* sampleNow(trainer)
      const keep = improved && recipe.checkpoint.keepBest
      if (keep || due(recipe.checkpoint.every)) yield await checkpointNow(session)
      await nextTurn()
    }
    if (session.savedStep !== trainer.state.step) yield await checkpointNow(session)
    const state = isDone() ? 'finished' : 'interrupted'
    run.report(state, { step: trainer.state.step })
    yield { type: 'end', state, step: trainer.state.step }
  } finally {
    log.close()
  }
}

/** One step, and an end to the run when too many in a row had no usable gradient. */
function takeStep(trainer: Trainer): StepRecord {
  const { recipe, learningRate, tokensPerStep } = trainer
  const next = trainer.state.step + 1
  const observe = next === 1 || next % recipe.logging.every === 0 || next === recipe.steps
  const start = performance.now()
  const result = trainer.step(observe)
  const seconds = (performance.now() - start) / 1000
  const { step, tokens, skippedInRow } = trainer.state
  if (skippedInRow >= recipe.maxBadSteps) {
    throw new SwitchyardError(
      `training diverged: ${skippedInRow} steps in a row had NaN or infinite gradients (the last was step ${step}); ` +
        'lower optimizer.learningRate and go on from the last checkpoint with --resume',
    )
  }
  return { step, tokens, learningRate, seconds, tokensPerSecond: tokensPerStep / seconds, ...result }
}

/** Returns whether the loss is the best so far. */
async function* evaluateNow(trainer: Trainer, log: RunLog): AsyncGenerator<TrainEvent, boolean> {
  const { model, validation, corpus, recipe } = trainer
  if (validation === null) return false
  const evaluation = await evaluate(model, validation, {
    domains: corpus.domains,
    batchSize: recipe.data.batchSize,
    batches: recipe.evaluation.batches,
  })
  const { step } = trainer.state
  log.evaluation(step, evaluation)
  yield { type: 'evaluation', step, evaluation }
  return trainer.noteLoss(evaluation.loss)
}

async function* sampleNow(trainer: Trainer): AsyncGenerator<TrainEvent> {
  const { model, tokenizer, recipe, state } = trainer
  const { prompts, maxNewTokens, temperature } = recipe.sampling
  model.eval()
  for (const prompt of prompts) {
    let text = ''
    for await (const piece of generateText(model, tokenizer, prompt, {
      maxNewTokens,
      temperature,
      seed: recipe.seed,
    })) {
      text += piece
    }
    yield { type: 'sample', step: state.step, prompt, text }
  }
  model.train()
}

async function checkpointNow(session: Session): Promise<TrainEvent> {
  const { run, trainer } = session
  const { state, recipe, corpus } = trainer
  const folder = await saveCheckpoint(run.checkpoints, trainer, state, corpus.tokenizerFile)
  const bestStep = recipe.checkpoint.keepBest ? (state.best?.step ?? null) : null
  pruneCheckpoints(run.checkpoints, recipe.checkpoint.keepLast, bestStep)
  run.report('running', { step: state.step, bestStep })
  session.savedStep = state.step
  return { type: 'checkpoint', step: state.step, folder }
}
