// A command line of fairseq-train as a recipe. What is left out is as in fairseq (fairseq/options.py, models/transformer).

import { ConfigError } from '../../errors.ts'
import { architectureNamed, type FairseqTask } from './architectures.ts'
import type { FairseqCommand } from './flags.ts'
import { languageModel, sideOf, sidesOf, sparseLayers, translationModel } from './model.ts'
import { Flags } from './values.ts'

/** What of the data a recipe depends on. */
export interface TrainingData {
  /** A corpus. */
  path: string
  /** Examples of the training split, and their mean length: of a pair that of the longer side. */
  examples: number
  length: number
  /** Tokens of the longest, of a pair of both sides together. */
  longest: number
}

/** A recipe's settings, and what is to be said of them. */
export interface FairseqRecipe {
  settings: Record<string, unknown>
  notes: string[]
}

/** Whether the task is one of pairs. */
export const isTranslation = (command: FairseqCommand): boolean => taskOf(command) === 'translation'

/** @throws ConfigError for an architecture that is not known, and for a task that is not its own */
function taskOf({ values }: FairseqCommand): FairseqTask {
  const arch = values.get('arch') ?? ''
  const { task } = architectureNamed(arch)
  const given = values.get('task') ?? task
  if (given === task) return task
  throw new ConfigError(`must be ${task} for --arch ${arch}, got '${given}'`, { path: '--task' })
}

/** @throws ConfigError for values that cannot be, or are of what there is none here */
export function fairseqRecipe(command: FairseqCommand, data: TrainingData): FairseqRecipe {
  const flags = new Flags(command)
  const notes: string[] = []
  const batches = batchesOf(flags, command, data, notes)
  const { steps, paced } = paceOf(flags, batches, notes)
  const isPairs = isTranslation(command)
  notes.push('the recipe that this comes to is recipe.yaml of the run folder')
  const settings = {
    name: (flags.text('arch') ?? 'fairseq').replace(/[^\w.-]/g, '-'),
    seed: flags.number('seed') ?? 1,
    precision: precisionOf(flags, notes),
    ...(isPairs ? translationModel(flags, batches.sequenceLength, notes) : languageModel(flags, notes)),
    recompute: recomputeOf(flags, isPairs, notes),
    dropout: dropoutOf(flags, isPairs, notes),
    losses: lossesOf(flags, isPairs, notes),
    data: { path: data.path, sequenceLength: batches.sequenceLength, batchSize: batches.batchSize },
    optimizer: optimizerOf(flags, notes),
    schedule: scheduleOf(flags, steps, notes),
    steps,
    gradientAccumulation: batches.accumulation,
    clip: clipOf(flags),
    ...paced,
  }
  return { settings, notes }
}

interface Batches {
  /** Sequences of the training split. */
  examples: number
  sequenceLength: number
  batchSize: number
  accumulation: number
}

/** The batch of all processes together, by one: a micro-batch for each process and each of `--update-freq`. */
function batchesOf(flags: Flags, command: FairseqCommand, data: TrainingData, notes: string[]): Batches {
  const isPairs = isTranslation(command)
  const positions = Math.max(
    flags.number('max-source-positions') ?? 1024,
    flags.number('max-target-positions') ?? 1024,
  )
  const sequenceLength = isPairs
    ? Math.min(positions, data.longest)
    : (flags.number('tokens-per-sample') ?? 1024)
  const length = isPairs ? data.length : sequenceLength
  const examples = isPairs
    ? data.examples
    : Math.max(1, Math.floor((data.examples * data.length) / sequenceLength))
  const given = flags.number('batch-size')
  const maxTokens = flags.number('max-tokens') ?? (given === undefined ? 4096 : Number.POSITIVE_INFINITY)
  if (given === undefined && !flags.has('max-tokens'))
    notes.push('neither --max-tokens nor --batch-size: 4096 tokens a batch')
  const batchSize = Math.max(1, Math.min(given ?? examples, examples, Math.floor(maxTokens / length)))
  if (isPairs && given === undefined)
    notes.push(`--max-tokens as pairs, of ${length.toFixed(1)} tokens on average: ${batchSize} a batch`)
  const [world, frequency] = [flags.number('distributed-world-size') ?? 1, flags.number('update-freq') ?? 1]
  const wanted = world * frequency
  const accumulation = Math.max(1, Math.min(wanted, Math.ceil(examples / batchSize)))
  if (world > 1)
    notes.push(
      `--distributed-world-size ${world}: one process trains here, on the same batch: ${wanted} micro-batches a step` +
        (accumulation < wanted ? `, of which the data has ${accumulation}` : ''),
    )
  return { examples, sequenceLength, batchSize, accumulation }
}

/** Steps, and what is done between them. */
function paceOf(flags: Flags, { examples, batchSize, accumulation }: Batches, notes: string[]) {
  const perEpoch = Math.max(1, Math.ceil(examples / (batchSize * accumulation)))
  const epochs = flags.above0('max-epoch')
  const updates = flags.above0('max-update')
  if (epochs === undefined && updates === undefined)
    notes.push(
      'neither --max-update nor --max-epoch, with which fairseq goes on until it is stopped: ten passes',
    )
  const steps = Math.min(
    updates ?? Number.POSITIVE_INFINITY,
    epochs !== undefined
      ? epochs * perEpoch
      : updates === undefined
        ? 10 * perEpoch
        : Number.POSITIVE_INFINITY,
  )
  const patience = flags.above0('patience')
  const saves = Math.min(steps, flags.above0('save-interval-updates') ?? Math.max(perEpoch, 500))
  const kept = flags.number('keep-interval-updates') ?? 2
  const paced = {
    evaluation: {
      every: Math.min(steps, flags.above0('validate-interval-updates') ?? perEpoch),
      ...(patience !== undefined && { patience }),
    },
    checkpoint: {
      every: saves,
      keepLast: kept > 0 ? kept : Math.ceil(steps / saves), // -1 is all of them
    },
    logging: { every: Math.min(steps, flags.number('log-interval') ?? 100) },
  }
  return { steps, paced }
}

function precisionOf(flags: Flags, notes: string[]): unknown {
  const half = (['fp16', 'memory-efficient-fp16', 'bf16'] as const).find(name => flags.has(name))
  if (half === undefined) return 'f32'
  notes.push(`--${half}: on a CPU bf16 where it is fast in it, else f32 (precision: auto)`)
  return 'auto'
}

function recomputeOf(flags: Flags, isPairs: boolean, notes: string[]): 'none' | 'layers' {
  if (!flags.has('checkpoint-activations')) return 'none'
  if (!isPairs) return 'layers'
  notes.push('without effect: --checkpoint-activations (activations of encoder-decoders are kept)')
  return 'none'
}

/** How many layers have experts, of both sides where there are two. */
function expertLayers(flags: Flags, isPairs: boolean): number {
  const sides = isPairs ? Object.values(sidesOf(flags)) : [sideOf(flags, 'decoder')]
  return sides.reduce((sum, side) => sum + sparseLayers(side), 0)
}

/** Of token vectors and branches of layers, of attention's probabilities, and of activations. */
function dropoutOf(flags: Flags, isPairs: boolean, notes: string[]): Record<string, number> {
  const { sizes } = flags
  const attention = flags.number('attention-dropout') ?? sizes.attentionDropout ?? 0
  if (attention > 0 && !isPairs)
    notes.push("without effect: --attention-dropout (the decoder's kernels know none)")
  const hasExperts = expertLayers(flags, isPairs) > 0
  const activation = flags.number('activation-dropout') ?? 0
  if (activation > 0)
    notes.push(
      hasExperts
        ? '--activation-dropout is of experts alone'
        : 'without effect: --activation-dropout (it is of experts alone)',
    )
  return {
    hidden: flags.number('dropout') ?? sizes.dropout ?? 0.1,
    ...(isPairs && { attention }),
    ...(hasExperts && { experts: activation }),
  }
}

/** `CE + wt * gate loss`, of all layers added up or their mean (criterions/moe_cross_entropy.py). */
function lossesOf(flags: Flags, isPairs: boolean, notes: string[]): Record<string, unknown> {
  flags.word('criterion', [
    'cross_entropy',
    'label_smoothed_cross_entropy',
    'moe_cross_entropy',
    'moe_label_smoothed_cross_entropy',
  ])
  const transform = flags.word('moe-gate-loss-transform', ['none', 'neg_log'])
  if (transform === 'neg_log')
    throw new ConfigError('must be none: balance losses are not transformed here', {
      path: '--moe-gate-loss-transform',
    })
  const layers = expertLayers(flags, isPairs)
  const method = flags.word('moe-gate-loss-combine-method', ['average', 'sum']) ?? 'average'
  const weight = flags.number('moe-gate-loss-wt') ?? 1
  // A mean is over the layers of both sides, each of which has its own sum here.
  const coefficient = method === 'sum' || layers === 0 ? weight : weight / layers
  const smoothing = flags.number('label-smoothing') ?? 0
  if (flags.has('label-smoothing') && flags.text('criterion')?.includes('label_smoothed') === false)
    notes.push('--label-smoothing counts, though --criterion has none')
  return {
    balance: layers > 0 && weight > 0 ? { kind: 'gshard', coefficient } : { kind: 'none' },
    z: 0,
    labelSmoothing: smoothing,
  }
}

function optimizerOf(flags: Flags, notes: string[]): Record<string, unknown> {
  const name = flags.word('optimizer', ['adam', 'adafactor', 'sgd', 'nag']) ?? 'adam'
  const lr = flags.number('lr')
  if (lr === undefined) notes.push('no --lr: 5e-4')
  const shared = { learningRate: lr ?? 5e-4, weightDecay: flags.number('weight-decay') ?? 0 }
  if (name === 'adafactor') return { kind: 'adafactor', ...shared }
  if (name !== 'adam')
    return { kind: 'sgd', ...shared, momentum: flags.number('momentum') ?? 0, nesterov: name === 'nag' }
  return { kind: 'adamw', ...shared, betas: betasOf(flags), epsilon: flags.number('adam-eps') ?? 1e-8 }
}

/** `(0.9, 0.98)` */
function betasOf(flags: Flags): [number, number] {
  const text = flags.text('adam-betas') ?? '(0.9, 0.999)'
  const [, first, second] = /^\s*[([]\s*([\d.e-]+)\s*,\s*([\d.e-]+)\s*[)\]]\s*$/.exec(text) ?? []
  const betas = [Number(first), Number(second)] as [number, number]
  if (betas.every(Number.isFinite)) return betas
  throw new ConfigError(`must be two numbers as '(0.9, 0.98)', got '${text}'`, { path: '--adam-betas' })
}

function scheduleOf(flags: Flags, steps: number, notes: string[]): Record<string, unknown> {
  const kinds = ['fixed', 'inverse_sqrt', 'polynomial_decay', 'cosine'] as const
  const kind = flags.word('lr-scheduler', kinds) ?? 'fixed'
  const given = flags.number('warmup-updates') ?? (kind === 'inverse_sqrt' ? 4000 : 0)
  const warmup = Math.min(given, kind === 'polynomial_decay' ? steps - 1 : steps)
  if (warmup < given)
    notes.push(`--warmup-updates ${given}: cut to ${warmup} of ${steps} steps, the rate then at its peak`)
  if (kind === 'fixed') return { kind: 'constant', warmup }
  if (kind === 'inverse_sqrt') return { kind: 'inverse-sqrt', warmup }
  if (kind === 'cosine') return { kind: 'cosine', warmup, minimum: 0 }
  return { kind: 'wsd', warmup, decay: steps - warmup, minimum: 0 }
}

/** 0 is no limit. */
function clipOf(flags: Flags): number | null {
  const norm = flags.number('clip-norm') ?? 0
  return norm > 0 ? norm : null
}
