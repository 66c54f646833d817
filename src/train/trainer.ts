// Everything a run holds while it trains, made from a recipe and a corpus.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Corpus,
  loadTokenizer,
  openCorpus,
  type SplitName,
  type Tokenizer,
  type WindowOrder,
  wordsOfTokens,
} from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import {
  type AdapterModule,
  type AnyModelConfig,
  attachAdapters,
  copyTokenizer,
  describeFeedForward,
  EncoderDecoderLM,
  isEncoderDecoder,
  SoftGate,
  setDropout,
  type TrainableModel,
} from '../models/index.ts'
import { WordRouter } from '../moe/index.ts'
import type { Cluster } from '../parallel/index.ts'
import {
  cudaMemory,
  type Device,
  hasCudaRuntime,
  manualSeed,
  memoryUse,
  requireDevice,
  runtimeInfo,
  tidy,
} from '../torch/index.ts'
import type { Trainee, TrainingState } from './checkpoint/checkpoint.ts'
import { adapterWeights, type CheckpointWeights, wholeWeights } from './checkpoint/weights.ts'
import { ConversationRows } from './conversation-rows.ts'
import type { RunStart } from './events.ts'
import { type ModelText, modelText, sequenceDomains, trainingBatch } from './examples.ts'
import { type Parts, refuseMisfits } from './fitting.ts'
import { GraphedStep } from './graphed-step.ts'
import { availableMemory, memoryPlan, refuseTooLarge, totalBytes } from './memory-plan.ts'
import { PartedStates, partedWeights } from './mesh/parts.ts'
import { refuseUnshared, SharedTraining } from './mesh/shared-training.ts'
import { type Batch, warmedUp } from './objective.ts'
import { type Optimizer, requireRecordable } from './optimizer/optimizer.ts'
import { createOptimizer } from './optimizer/table.ts'
import { PairRows } from './pair-rows.ts'
import {
  autocastType,
  convertWeights,
  halfOptions,
  type LossScaler,
  lossScalerFor,
  productType,
} from './precision.ts'
import { type Preference, type ReadingOptions, referenceLogProbs } from './preference.ts'
import { firstModel, modelConfigOf, resolveRecipe, type Vocabulary } from './recipe/model-config.ts'
import { requireTokenizerOf } from './recipe/opened.ts'
import { isOpened, type Recipe } from './recipe/schema.ts'
import { learningRateFactor } from './schedule.ts'
import { type StepOptions, type StepResult, trainStep } from './step.ts'
import { TokenWindows } from './token-windows.ts'
import { TrainedParameters } from './trained/trained.ts'
import { WeightAverage } from './weight-average.ts'
import { windowOrder } from './window-order.ts'

export class Trainer implements Trainee {
  readonly recipe: Recipe
  readonly config: AnyModelConfig
  readonly device: Device
  /** Bytes that a step takes at most, as planned. */
  readonly memory: number
  readonly corpus: Corpus
  readonly tokenizer: Tokenizer
  readonly corpusFingerprint: string
  readonly model: TrainableModel
  readonly trained: TrainedParameters
  readonly weights: CheckpointWeights
  readonly optimizer: Optimizer
  readonly average: WeightAverage | null
  /** With whom it trains; null when alone. */
  readonly shared: SharedTraining | null
  readonly parted: PartedStates | null
  readonly training: ModelText
  /** Null when the corpus holds nothing out. */
  readonly validation: ModelText | null
  readonly #sampler: WindowOrder
  readonly #lossScaler: LossScaler | null
  #graph: GraphedStep | null = null
  #references: Record<SplitName, Float64Array> | null = null
  #state: Omit<TrainingState, 'sampler' | 'corpus' | 'lossScale'> = {
    step: 0,
    tokens: 0,
    skipped: 0,
    skippedInRow: 0,
    best: null,
  }

  /**
   * @param cluster the ranks that train together. Default: this process alone
   * @throws ConfigError when recipe, corpus, machine and ranks do not fit each other
   */
  constructor(recipe: Recipe, cluster: Cluster | null = null) {
    this.corpus = openCorpus(recipe.data.path)
    const { tokenizerFile } = this.corpus
    this.tokenizer = loadTokenizer(tokenizerFile)
    this.corpusFingerprint = fingerprint(join(this.corpus.folder, 'corpus.json'), tokenizerFile)
    cluster?.demandAlike(fingerprints(recipe, this.corpusFingerprint))
    const vocabulary = vocabularyOf(this.corpus, this.tokenizer)
    if (isOpened(recipe.model)) requireTokenizerOf(recipe.model, this.tokenizer)
    this.recipe = resolveRecipe(recipe, vocabulary)
    this.config = modelConfigOf(this.recipe, vocabulary)
    this.device = requireDevice(this.recipe.device as Device)
    const plan = memoryPlan(this.recipe, this.config)
    refuseTooLarge(plan, this, availableMemory(this.device))
    this.memory = totalBytes(plan)
    const { optimizer, precision, seed } = this.recipe
    const { objective } = this.recipe
    const reading = {
      ...this.recipe.data,
      config: this.config,
      ...(objective.kind === 'span-corruption' && { corruption: objective }),
    }
    refuseMisfits(this)
    if (cluster) refuseUnshared({ ...this.recipe.data, device: this.device }, cluster.batch)
    this.training = modelText(this.corpus, 'train', reading)
    this.validation = holdsText(this) ? modelText(this.corpus, 'validation', reading) : null
    const { data, gradientAccumulation } = this.recipe
    this.#sampler = windowOrder(this.training, {
      domains: this.corpus.domains,
      weights: data.weights,
      windowsPerStep: data.batchSize * gradientAccumulation,
      seed,
    })
    manualSeed(seed)
    this.model = firstModel(this.recipe, this.config)
    if (this.recipe.dropout) setDropout(this.model, this.recipe.dropout)
    const adapters = this.recipe.adapter ? attachAdapters(this.model, this.recipe.adapter) : null
    if (this.recipe.losses.localized)
      for (const [, part] of this.model.namedModules()) if (part instanceof SoftGate) part.keeps = true
    convertWeights(this.model, precision, this.device)
    this.model.to(this.device)
    this.shared = cluster && new SharedTraining(cluster, this.model)
    this.shared?.refuseUneven(this.training instanceof TokenWindows)
    if (!(this.model instanceof EncoderDecoderLM)) this.model.model.recompute = this.recipe.recompute
    this.#assignWords()
    this.trained = new TrainedParameters(this.model, this.recipe.trained)
    this.optimizer = createOptimizer(this.trained.parameters, optimizer, halfOptions(precision))
    if (recipe.graph) requireRecordable(this.optimizer, optimizer.kind)
    this.average = this.recipe.ema
      ? new WeightAverage(this.trained.parameters.values(), this.recipe.ema)
      : null
    const weights = weightsOf(this, adapters)
    this.weights = this.shared ? partedWeights(weights, this.shared) : weights
    this.parted = this.shared && new PartedStates(this.shared, this.trained.parameters)
    this.#lossScaler = lossScalerFor(precision)
  }

  /** Words of the tokenizer and their frequencies are the corpus's, which a model alone does not know. */
  #assignWords(): void {
    const routers = [...this.model.namedModules()].flatMap(([, module]) =>
      module instanceof WordRouter ? module : [],
    )
    if (routers.length === 0 || !(this.training instanceof TokenWindows)) return
    const { vocab_size: size } = this.config
    const [words, frequencies] = [wordsOfTokens(this.tokenizer, size), this.training.frequencies(size)]
    for (const router of routers) router.assign(words, frequencies)
  }

  /** Whether this process writes what all ranks have together. */
  get writes(): boolean {
    return this.shared?.cluster.isFirst ?? true
  }

  get state(): TrainingState {
    const lossScale = this.#lossScaler?.state
    return {
      ...this.#state,
      sampler: this.#sampler.state,
      corpus: this.corpusFingerprint,
      ...(lossScale && { lossScale }),
    }
  }

  /** Goes on from a restored state. */
  set state({ sampler, corpus: _, lossScale, ...state }: TrainingState) {
    this.#state = state
    if (lossScale && this.#lossScaler) this.#lossScaler.state = lossScale
    this.#sampler.restore(sampler)
  }

  /** Of the model that was opened, with its chat template; or of the corpus, which may know another template. */
  saveTokenizer(folder: string): void {
    const { model } = this.recipe
    if (isOpened(model)) copyTokenizer(model.from, folder)
    copyTokenizer(this.corpus.folder, folder)
  }

  /** What is to be trained, and on what. */
  get description(): Omit<RunStart, 'run' | 'resumedFrom'> {
    const { recipe, config, corpus, device, memory, tokensPerStep } = this
    return {
      ...{ recipe, device, memory, tokensPerStep },
      products: productType(recipe.precision, device),
      modelType: config.model_type,
      feedForward: describeFeedForward(config),
      parameters: this.model.numParameters,
      trained: this.trained.parts,
      domains: corpus.domains,
      trainingTokens: corpus.train.tokens,
    }
  }

  /** What a user should know of the data before it is learnt. */
  get notes(): string[] {
    if (!(this.training instanceof ConversationRows || this.training instanceof PairRows)) return []
    const { cut, dropped, sequenceLength } = this.training
    const longer = `are longer than ${sequenceLength} tokens`
    return [
      ...(cut > 0 ? [`${cut} examples ${longer} and are cut (data.long, data.sequenceLength)`] : []),
      ...(dropped > 0
        ? [`${dropped} examples ${longer} and are left out (data.long, data.sequenceLength)`]
        : []),
    ]
  }

  /** Most bytes that tensors took so far, where the model is. */
  get peakMemory(): number {
    if (this.device === 'cpu') return memoryUse().peakBytes
    return hasCudaRuntime() ? cudaMemory(this.device).peak : 0
  }

  /** At most. */
  get tokensPerStep(): number {
    const { data, gradientAccumulation } = this.recipe
    const answers = this.training instanceof ConversationRows ? this.training.together : 1
    return answers * data.batchSize * data.sequenceLength * gradientAccumulation
  }

  get learningRate(): number {
    return this.recipe.optimizer.learningRate * this.#pace
  }

  get #pace(): number {
    const { schedule, steps } = this.recipe
    return learningRateFactor(schedule, this.#state.step, steps)
  }

  /** One optimizer step on the next windows. */
  step(observe: boolean): StepResult {
    const { gradientAccumulation, losses, clip, precision } = this.recipe
    let tokens = 0
    this.shared?.cluster.note(`step ${this.#state.step + 1}`)
    this.shared?.seedStep(this.recipe.seed, this.#state.step)
    const result = tidy(() => {
      const batches = Array.from({ length: gradientAccumulation }, () => this.#batch())
      for (const { inputs } of batches) tokens += inputs.starts.at(-1) ?? 0
      return this.#train(batches, {
        losses: warmedUp(losses, this.#state.step),
        preference: this.preference('train'),
        learningRate: this.learningRate,
        pace: this.trained.adaptsRouters ? this.#pace : null,
        trained: [...this.trained.parameters.values()],
        clip,
        autocast: autocastType(precision, this.device),
        lossScaler: this.#lossScaler,
        shared: this.shared,
        observe,
      })
    })
    if (result.updated !== false) this.average?.follow(this.optimizer.step)
    const skipped = result.updated === false ? 1 : 0
    this.#state.step++
    this.#state.tokens += this.shared?.total(tokens) ?? tokens
    this.#state.skipped += skipped
    this.#state.skippedInRow = skipped === 0 ? 0 : this.#state.skippedInRow + 1
    return result
  }

  /** A micro-batch, with the domain of each sequence where a loss goes by them. */
  #batch(): Batch {
    const { training, corpus } = this
    const { data, losses } = this.recipe
    const all = this.#sampler.take(data.batchSize)
    const rows = this.shared?.rowsOf(all) ?? all
    const batch = trainingBatch(this.model, training, rows)
    if (!losses.localized) return batch
    const domains = sequenceDomains(training, rows, batch).map(number => corpus.domains[number] ?? '')
    return { ...batch, sampleDomains: domains }
  }

  #train(batches: Batch[], options: StepOptions): StepResult {
    if (!this.recipe.graph || this.device === 'cpu')
      return trainStep(this.model, this.optimizer, batches, options)
    const optimizer = requireRecordable(this.optimizer, this.recipe.optimizer.kind)
    this.#graph ??= new GraphedStep(this.model, optimizer, batches, options)
    return this.#graph.run(batches, options)
  }

  /** What has to be known of the model before it moves: how likely it finds the answers of pairs. */
  async prepare(signal?: AbortSignal): Promise<void> {
    const { training, validation, recipe, model } = this
    if (recipe.objective.kind !== 'dpo' || !(training instanceof ConversationRows)) return
    const options = { ...this.reading, signal }
    const of = (rows: ModelText | null): Promise<Float64Array> | Float64Array =>
      rows instanceof ConversationRows ? referenceLogProbs(model, rows, options) : new Float64Array()
    this.#references = { train: await of(training), validation: await of(validation) }
  }

  /** How pairs are read without learning. */
  get reading(): ReadingOptions {
    const { data, precision } = this.recipe
    return { batchSize: data.batchSize, narrow: autocastType(precision, this.device) }
  }

  /** How pairs of a split are measured; null where answers come one by one. */
  preference(split: SplitName): Preference | null {
    const { objective } = this.recipe
    return objective.kind === 'dpo' && this.#references
      ? { ...objective, reference: this.#references[split] }
      : null
  }

  /** Takes note of a validation loss; true when it is the best so far. */
  noteLoss(loss: number): boolean {
    const { best, step } = this.#state
    if (!Number.isFinite(loss) || (best !== null && loss >= best.loss)) return false
    this.#state.best = { step, loss }
    return true
  }

  dispose(): void {
    this.#graph?.dispose()
    this.trained.dispose()
    this.model.dispose()
    this.optimizer.dispose()
    this.average?.dispose()
    this.training.dispose()
    this.validation?.dispose()
  }
}

/** Whether the validation split has a row of text. */
function holdsText({ corpus: { validation, manifest }, recipe }: Parts): boolean {
  return validation.tokens > (manifest.answers ? 1 : recipe.data.sequenceLength)
}

/** What checkpoints hold: of an adapted model, the adapters and what was trained beside them. */
function weightsOf(
  { recipe, model, config, trained }: Pick<Trainer, 'recipe' | 'model' | 'config' | 'trained'>,
  adapters: ReadonlyMap<string, AdapterModule> | null,
): CheckpointWeights {
  const { adapter, model: from } = recipe
  if (!adapter || !adapters || !isOpened(from)) return wholeWeights(model, config)
  const whole = new Map([...trained.touched].filter(([, { declaration }]) => declaration.role !== 'adapter'))
  const task = isEncoderDecoder(config) ? 'SEQ_2_SEQ_LM' : 'CAUSAL_LM'
  return adapterWeights({ adapters, config: adapter, base: from.from, whole, task })
}

/** What ranks must have alike; where their corpus lies may differ. */
function fingerprints({ data, ...rest }: Recipe, corpus: string): Record<string, string> {
  const settings = JSON.stringify({ ...rest, data: { ...data, path: '' } })
  const { version: libtorch } = runtimeInfo()
  return { libtorch, recipe: createHash('sha256').update(settings).digest('hex'), corpus }
}

function fingerprint(...files: readonly string[]): string {
  const hash = createHash('sha256')
  for (const file of files) hash.update(readFileSync(file))
  return hash.digest('hex')
}

function vocabularyOf(corpus: Corpus, tokenizer: Tokenizer): Vocabulary {
  if (tokenizer.vocabSize !== corpus.vocabSize) {
    throw new ConfigError(
      `${corpus.tokenizerFile} has ${tokenizer.vocabSize} tokens, the corpus was encoded with ${corpus.vocabSize}: prepare it again`,
      { path: 'data.path' },
    )
  }
  return { size: corpus.vocabSize, domains: corpus.domains, ...tokenizer.specialIds }
}
