// A training run as a stream of events: who listens decides what to show.

import { basename } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isCorpus } from '../data/index.ts'
import { ConfigError, FormatError } from '../errors.ts'
import { CausalLM, EncoderDecoderLM, generateText, listCheckpoints } from '../models/index.ts'
import type { Cluster } from '../parallel/index.ts'
import { chooseGemm, gemmChoice } from '../torch/index.ts'
import { pruneCheckpoints, restoreCheckpoint, saveCheckpoint, setAside } from './checkpoint/checkpoint.ts'
import { ConversationRows } from './conversation-rows.ts'
import { TrainingDiverged } from './diverged.ts'
import { evaluate } from './evaluate.ts'
import type { TrainEvent } from './events.ts'
import { FollowedRun, followedLog } from './mesh/followed-run.ts'
import { missingPrecision } from './precision.ts'
import { evaluatePreferences, type Preference } from './preference.ts'
import type { Recipe } from './recipe/schema.ts'
import { repeatGemm } from './repeatable.ts'
import { refuseOtherPast } from './resume.ts'
import { type Run, RunFolder, type RunState } from './run-folder.ts'
import { RunLog, type StepLog, type StepRecord } from './run-log.ts'
import type { StepResult } from './step.ts'
import { Trainer } from './trainer.ts'
import { TrainingWatch } from './watch.ts'

export interface TrainOptions {
  /** The run folder. */
  out: string
  /** Go on with the run in `out`. */
  resume?: boolean
  /** The ranks that train together, all of which call this alike; rank 0 writes the run folder. Default: this process alone. */
  cluster?: Cluster | null
  /** Aborting ends the run after the current step, with a checkpoint. */
  signal?: AbortSignal
}

/**
 * Trains a recipe. The event loop turns between steps.
 *
 * @throws ConfigError before anything is written; TrainingDiverged when gradients stay bad
 */
export async function* train(recipe: Recipe, options: TrainOptions): AsyncGenerator<TrainEvent> {
  const gemm = gemmChoice()
  try {
    yield* wholeRun(recipe, options)
  } finally {
    chooseGemm(gemm) // a run that went on may have changed it
  }
}

async function* wholeRun(recipe: Recipe, options: TrainOptions): AsyncGenerator<TrainEvent> {
  const session = options.resume ? resumeRun(recipe, options) : startRun(recipe, options)
  try {
    await session.trainer.prepare(options.signal)
    const resumedFrom = yield* restore(session)
    yield* recorded(session, resumedFrom, options.signal)
  } finally {
    session.run.close()
    session.trainer.dispose()
  }
}

/** The steps of a run, and a note of how they ended. */
async function* recorded(
  session: Session,
  resumedFrom: number | null,
  signal?: AbortSignal,
): AsyncGenerator<TrainEvent> {
  const { run, trainer } = session
  let state: RunState = 'interrupted' // unless it comes to an end: who listens may just stop
  try {
    const { step, best } = trainer.state
    run.report('running', { step, bestStep: best?.step ?? null })
    yield { type: 'start', run: run.path, resumedFrom, ...trainer.description }
    const missing = missingPrecision(trainer.recipe.precision, trainer.device)
    for (const message of [...(missing ? [missing] : []), ...trainer.notes])
      yield { type: 'warning', message }
    state = yield* steps(session, resumedFrom, signal)
    yield { type: 'end', state, step: trainer.state.step, best: trainer.state.best }
  } catch (error) {
    state = 'failed'
    run.report(state, { error: (error as Error).message })
    throw error
  } finally {
    const { step } = trainer.state
    if (state === 'failed' && step === 0 && resumedFrom === null)
      run.remove() // the next try finds no obstacle
    else run.report(state, { step })
  }
}

interface Session {
  run: Run
  trainer: Trainer
  resuming: boolean
  /** The step of the newest checkpoint. */
  savedStep: number
  /** What differs from how the run was trained before. */
  changes: string[]
}

function startRun(recipe: Recipe, { out, cluster = null }: TrainOptions): Session {
  const isFirst = cluster?.isFirst ?? true
  if (isFirst) RunFolder.refuseExisting(out)
  const trainer = new Trainer(recipe, cluster)
  const run = isFirst ? RunFolder.create(out) : new FollowedRun(out)
  run.recipe = trainer.recipe
  return { trainer, run, resuming: false, savedStep: 0, changes: [] }
}

function resumeRun(recipe: Recipe, { out, cluster = null }: TrainOptions): Session {
  const run = (cluster?.isFirst ?? true) ? RunFolder.reopen(out) : new FollowedRun(out)
  try {
    const change = repeatGemm(out)
    const trainer = new Trainer(recipe, cluster)
    refuseOtherPast(run.recipe, trainer.recipe, out)
    return { trainer, run, resuming: true, savedStep: 0, changes: change ? [change] : [] }
  } catch (error) {
    run.close()
    if (isCorpus(recipe.data.path)) throw error
    throw new ConfigError(`${recipe.data.path} is no corpus: if it has moved, set this to its new place`, {
      path: 'data.path',
      cause: error,
    })
  }
}

/** Restores the newest checkpoint that is whole; each one that is not is put aside, with a warning. */
async function* restore(session: Session): AsyncGenerator<TrainEvent, number | null> {
  const { run, trainer, resuming } = session
  if (!resuming) return null
  for (const message of session.changes) yield { type: 'warning', message }
  const folders = listCheckpoints(run.checkpoints)
  const together = trainer.shared?.cluster
  together?.barrier() // all have the same list, of which rank 0 may put some aside
  for (const folder of folders) {
    try {
      trainer.state = await restoreCheckpoint(folder, trainer)
      session.savedStep = trainer.state.step
      refuseFewerSteps(session)
      run.recipe = trainer.recipe
      return session.savedStep
    } catch (error) {
      if (!(error instanceof FormatError)) throw error
      together?.barrier()
      const aside = trainer.writes ? basename(setAside(folder)) : ''
      yield {
        type: 'warning',
        message: `skipped a damaged checkpoint: ${error.message} (it is ${aside} now)`,
      }
    }
  }
  yield { type: 'warning', message: `${run.path} holds no usable checkpoint: starting over` }
  run.recipe = trainer.recipe
  return 0
}

function refuseFewerSteps({ run, trainer, savedStep }: Session): void {
  const { steps } = trainer.recipe
  if (steps >= savedStep) return
  throw new ConfigError(`${steps} is below the ${savedStep} steps that ${run.path} has done: give more`, {
    path: 'steps',
  })
}

/** Steps to the end, with what is due between them. */
async function* steps(
  session: Session,
  resumedFrom: number | null,
  signal?: AbortSignal,
): AsyncGenerator<TrainEvent, 'finished' | 'interrupted'> {
  const { trainer, run } = session
  const { recipe } = trainer
  const log: StepLog = run instanceof RunFolder ? new RunLog(run, resumedFrom) : followedLog
  const watch = new TrainingWatch()
  const clock = new StepClock()
  const due = (every: number): boolean => (every > 0 && trainer.state.step % every === 0) || isDone()
  let stopsEarly = false
  const isDone = (): boolean => stopsEarly || trainer.state.step >= recipe.steps
  try {
    const isStopped = (): boolean => {
      const here = signal?.aborted ?? false
      return trainer.shared?.cluster.any(here) ?? here
    }
    while (!isDone() && !isStopped()) {
      const record = takeStep(trainer, clock)
      log.step(record)
      yield { type: 'step', ...record }
      for (const message of watch.observe(record)) yield { type: 'warning', message }
      const isEvaluated = due(recipe.evaluation.every)
      const improved = isEvaluated ? yield* onAverage(trainer, evaluateNow(trainer, log)) : false
      if (isEvaluated)
        for (const message of watch.evaluated(trainer.state.best, improved))
          yield { type: 'warning', message }
      if (isTooLate(trainer)) {
        stopsEarly = true
        yield {
          type: 'warning',
          message: `ends early: no better than at step ${trainer.state.best?.step} (evaluation.patience)`,
        }
      }
      if (due(recipe.sampling.every)) yield* onAverage(trainer, sampleNow(trainer))
      const keep = improved && recipe.checkpoint.keepBest
      if (keep || due(recipe.checkpoint.every)) yield await checkpointNow(session, log)
      await nextTurn()
    }
    if (session.savedStep !== trainer.state.step) yield await checkpointNow(session, log)
    return isDone() ? 'finished' : 'interrupted'
  } finally {
    log.close()
  }
}

/** Whether as many evaluations as a recipe's patience were no better than the best. */
function isTooLate({ state: { step, best }, recipe }: Trainer): boolean {
  const { every, patience } = recipe.evaluation
  return patience !== null && every > 0 && best !== null && step - best.step >= patience * every
}

/**
 * Time of steps. A device computes on when a step returns, and whoever looks at one waits for those before it: only their mean
 * since the last look says how fast they are.
 */
class StepClock {
  /** Seconds that the host spent in the last step. */
  last = 0
  #seconds = 0
  #tokens = 0

  step(trainer: Trainer, observe: boolean): StepResult {
    const [start, before] = [performance.now(), trainer.state.tokens]
    const result = trainer.step(observe)
    this.last = (performance.now() - start) / 1000
    this.#seconds += this.last
    this.#tokens += trainer.state.tokens - before
    return result
  }

  get tokensPerSecond(): number {
    return this.#tokens / this.#seconds
  }

  restart(): void {
    this.#seconds = 0
    this.#tokens = 0
  }
}

/** One step, and an end to the run when too many in a row had no usable gradient. */
function takeStep(trainer: Trainer, clock: StepClock): StepRecord {
  const { recipe, learningRate } = trainer
  const next = trainer.state.step + 1
  const observe = next === 1 || next % recipe.logging.every === 0 || next === recipe.steps
  const result = clock.step(trainer, observe)
  const { step, tokens, skippedInRow } = trainer.state
  if (skippedInRow >= recipe.maxBadSteps) {
    throw new TrainingDiverged(
      `training diverged: ${skippedInRow} steps in a row had NaN or infinite gradients (the last was step ${step}); ` +
        'resume from the last checkpoint with optimizer.learningRate lower than before',
    )
  }
  const speed = { seconds: clock.last, tokensPerSecond: clock.tokensPerSecond }
  if (observe) clock.restart()
  return {
    step,
    tokens,
    learningRate,
    ...speed,
    ...(observe && { peakMemory: trainer.peakMemory }),
    ...(observe && trainer.shared && { sent: trainer.shared.sent() }),
    ...result,
  }
}

/** With the averaged weights in the model, where they are kept. */
async function* onAverage<T>(
  { average }: Trainer,
  body: AsyncGenerator<TrainEvent, T>,
): AsyncGenerator<TrainEvent, T> {
  average?.swap()
  try {
    return yield* body
  } finally {
    average?.swap()
  }
}

/** Returns whether the loss is the best so far. */
async function* evaluateNow(trainer: Trainer, log: StepLog): AsyncGenerator<TrainEvent, boolean> {
  const { model, validation, corpus, recipe } = trainer
  if (validation === null) return false
  const preference = trainer.preference('validation')
  if (preference && validation instanceof ConversationRows)
    return yield* evaluatePairs(trainer, log, validation, preference)
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

async function* evaluatePairs(
  trainer: Trainer,
  log: StepLog,
  rows: ConversationRows,
  preference: Preference,
): AsyncGenerator<TrainEvent, boolean> {
  const score = await evaluatePreferences(trainer.model, rows, preference, trainer.reading)
  const { step } = trainer.state
  log.preferences(step, score)
  yield { type: 'preferences', step, score }
  return trainer.noteLoss(score.loss)
}

async function* sampleNow(trainer: Trainer): AsyncGenerator<TrainEvent> {
  const { model, tokenizer, recipe, state } = trainer
  const { prompts, maxNewTokens, temperature } = recipe.sampling
  const writes = model instanceof CausalLM || model instanceof EncoderDecoderLM
  if (!writes) return // an encoder's recipe has no prompts
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

async function checkpointNow(session: Session, log: StepLog): Promise<TrainEvent> {
  const { run, trainer } = session
  const { state, recipe } = trainer
  log.flush() // a resumed run keeps the lines before its checkpoint: they must be there
  const folder = await saveCheckpoint(run.checkpoints, trainer, state)
  const bestStep = recipe.checkpoint.keepBest ? (state.best?.step ?? null) : null
  if (trainer.writes) pruneCheckpoints(run.checkpoints, recipe.checkpoint.keepLast, bestStep)
  run.report('running', { step: state.step, bestStep })
  session.savedStep = state.step
  return { type: 'checkpoint', step: state.step, folder }
}
