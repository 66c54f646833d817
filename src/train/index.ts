// Training: recipes, the loop, checkpoints, evaluation.

export { verifyChecksums } from './checkpoint/checksums.ts'
export { TrainingDiverged } from './diverged.ts'
export {
  type DomainScore,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  evenlySpaced,
} from './evaluate.ts'
export type { RunStart, TrainEvent } from './events.ts'
export { type ModelText, modelText } from './examples.ts'
export {
  type FairseqCommand,
  idleNotes,
  parseFairseq,
} from './fairseq/flags.ts'
export { type FairseqRecipe, fairseqRecipe, isTranslation, type TrainingData } from './fairseq/recipe.ts'
export { refuseToScore } from './fitting.ts'
export { GraphedStep } from './graphed-step.ts'
export { availableMemory, type MemoryPlan, memoryPlan, totalBytes } from './memory-plan.ts'
export { type Batch, batchOf, computeObjective, type Losses, type Objective } from './objective.ts'
export { Adafactor, type AdafactorOptions } from './optimizer/adafactor.ts'
export { AdamW, type AdamWOptions } from './optimizer/adamw.ts'
export { clipFactor, clipGradients, gradientNorm } from './optimizer/clip.ts'
export { Muon, type MuonOptions } from './optimizer/muon.ts'
export type {
  GradientScaling,
  HalfPrecision,
  Optimizer,
  ParameterGroup,
  RecordableOptimizer,
} from './optimizer/optimizer.ts'
export { Sgd, type SgdOptions } from './optimizer/sgd.ts'
export { createOptimizer, type OptimizerConfig, optimizerSchema } from './optimizer/table.ts'
export { PairRows } from './pair-rows.ts'
export { pairBatch, type TokenPair } from './pairs.ts'
export {
  autocastType,
  convertWeights,
  halfOptions,
  LossScaler,
  lossScalerFor,
  type Precision,
  precisionSchema,
} from './precision.ts'
export { checkRecipe } from './recipe/check.ts'
export { type FinetuneOptions, finetuneRecipe } from './recipe/finetune.ts'
export { loadRecipe, withOverrides } from './recipe/load.ts'
export { recipeConfig, type Vocabulary } from './recipe/model-config.ts'
export { isOpened, isStack, type Recipe, recipeSchema } from './recipe/schema.ts'
export { replayTraining } from './replay.ts'
export { RunFolder } from './run-folder.ts'
export type { StepRecord } from './run-log.ts'
export { learningRateFactor, type Schedule } from './schedule.ts'
export { jensenShannon, type Shift, shiftBetween } from './shift.ts'
export { SpanRows } from './span-rows.ts'
export { type StepOptions, type StepResult, trainStep } from './step.ts'
export {
  type GridAxis,
  gridAxis,
  type SweepEvent,
  type SweepOptions,
  type SweepResult,
  type SweepRun,
  type SweepSummary,
  shownValue,
  summarized,
  sweep,
  sweepRuns,
} from './sweep.ts'
export { taskNames, tasksOfDomains } from './tasks.ts'
export { type TextRows, TokenWindows } from './token-windows.ts'
export { type TrainOptions, train } from './train.ts'
export { TrainedParameters, type TrainedPart } from './trained/trained.ts'
export { Trainer } from './trainer.ts'
export { type BleuCounts, type BleuScore, bleu, bleuOf } from './translation/bleu.ts'
export { type ChrfOptions, chrf } from './translation/chrf.ts'
export {
  type TranslateOptions,
  type Translation,
  type TranslationScore,
  translate,
} from './translation/translate.ts'
