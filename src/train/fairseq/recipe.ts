// A command line of fairseq-train as a recipe. What is left out is as in fairseq (fairseq/options.py, models/transformer).

import { ConfigError } from '../../errors.ts'
import { type ArchitectureSizes, architectureNamed, type FairseqTask } from './architectures.ts'
import type { FairseqCommand, FairseqFlag } from './flags.ts'

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
  const { steps, paced } = paceOf(flags, batches, data, notes)
  const isPairs = isTranslation(command)
  const settings = {
    name: (flags.text('arch') ?? 'fairseq').replace(/[^\w.-]/g, '-'),
    seed: flags.number('seed') ?? 1,
    precision: precisionOf(flags, notes),
    ...(isPairs ? translationModel(flags, batches.sequenceLength, notes) : languageModel(flags, notes)),
    losses: lossesOf(flags, isPairs, notes),
    data: { path: data.path, sequenceLength: batches.sequenceLength, batchSize: batches.batchSize },
    optimizer: optimizerOf(flags, notes),
    schedule: scheduleOf(flags, steps),
    steps,
    gradientAccumulation: batches.accumulation,
    clip: clipOf(flags),
    ...paced,
  }
  return { settings, notes }
}

/** Values by flag. */
class Flags {
  readonly #values: ReadonlyMap<FairseqFlag, string>
  /** Of the architecture. */
  readonly sizes: ArchitectureSizes

  constructor({ values }: FairseqCommand) {
    this.#values = values
    this.sizes = architectureNamed(values.get('arch') ?? '').sizes
  }

  has(name: FairseqFlag): boolean {
    return this.#values.has(name)
  }

  text(name: FairseqFlag): string | undefined {
    return this.#values.get(name)
  }

  /** A number, or the only one of a list as `4` or `[4]`. */
  number(name: FairseqFlag): number | undefined {
    const text = this.#values.get(name)
    if (text === undefined) return undefined
    const number = text.trim() === '' ? Number.NaN : Number(text.replace(/^\[(.*)\]$/, '$1'))
    if (Number.isFinite(number)) return number
    throw new ConfigError(`must be a number, got '${text}'`, { path: `--${name}` })
  }

  /** One of some words. */
  word<T extends string>(name: FairseqFlag, words: readonly T[]): T | undefined {
    const text = this.#values.get(name)
    const word = words.find(known => known === text)
    if (text === undefined || word !== undefined) return word
    throw new ConfigError(`must be one of ${words.join(', ')}, got '${text}'`, { path: `--${name}` })
  }
}

interface Batches {
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
  const given = flags.number('batch-size')
  const maxTokens = flags.number('max-tokens') ?? (given === undefined ? 4096 : Number.POSITIVE_INFINITY)
  if (given === undefined && !flags.has('max-tokens'))
    notes.push('neither --max-tokens nor --batch-size: 4096 tokens a batch')
  const batchSize = Math.max(
    1,
    Math.min(given ?? data.examples, data.examples, Math.floor(maxTokens / length)),
  )
  if (isPairs && given === undefined)
    notes.push(`--max-tokens as pairs, of ${length.toFixed(1)} tokens on average: ${batchSize} a batch`)
  const [world, frequency] = [flags.number('distributed-world-size') ?? 1, flags.number('update-freq') ?? 1]
  const wanted = world * frequency
  const accumulation = Math.max(1, Math.min(wanted, Math.ceil(data.examples / batchSize)))
  if (world > 1)
    notes.push(
      `--distributed-world-size ${world}: one process trains here, on the same batch: ${wanted} micro-batches a step` +
        (accumulation < wanted ? `, of which the data has ${accumulation}` : ''),
    )
  return { sequenceLength, batchSize, accumulation }
}

/** Steps, and what is done between them. */
function paceOf(flags: Flags, { batchSize, accumulation }: Batches, data: TrainingData, notes: string[]) {
  const perEpoch = Math.max(1, Math.ceil(data.examples / (batchSize * accumulation)))
  const epochs = flags.number('max-epoch')
  const updates = flags.number('max-update')
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
  const patience = flags.number('patience')
  const paced = {
    evaluation: {
      every: Math.min(steps, flags.number('validate-interval-updates') ?? perEpoch),
      ...(patience !== undefined && patience > 0 && { patience }),
    },
    checkpoint: {
      every: Math.min(steps, flags.number('save-interval-updates') ?? Math.max(perEpoch, 500)),
      keepLast: Math.max(1, flags.number('keep-interval-updates') ?? 2),
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

/** Top-1 is Switch's layer, top-2 that of NLLB, which is fairseq's own. */
function choicesOf(flags: Flags): 1 | 2 {
  flags.word('moe-gating-type', ['top'])
  const k = flags.number('moe-k') ?? (flags.has('moe-top1-expert') ? 1 : 2)
  if (k === 1 || k === 2) return k
  throw new ConfigError(`must be 1 or 2, as fairseq has it, got ${k}`, { path: '--moe-k' })
}

const activations = ['relu', 'gelu', 'gelu_accurate', 'swish'] as const

function activationOf(flags: Flags): string {
  const name = flags.word('activation-fn', activations) ?? flags.sizes.activation ?? 'relu'
  return name === 'gelu_accurate' ? 'gelu_pytorch_tanh' : name
}

/** Every how many layers there are experts; 0: nowhere. */
function frequencyOf(flags: Flags, side: 'encoder' | 'decoder'): number {
  const experts = flags.number('moe-expert-count') ?? 0
  return experts > 0 ? (flags.number(`${side}-moe-freq`) ?? flags.number('moe-freq') ?? 0) : 0
}

function policyOf(flags: Flags): 'all' | 'sampling' | 'random' {
  return flags.word('moe-second-expert-policy', ['all', 'sampling', 'random']) ?? 'sampling'
}

/** Share of tokens that an expert takes in evaluation; not above 0: as in training. */
const evaluationShare = (flags: Flags): number => flags.number('moe-eval-capacity-token-fraction') ?? 0.25

/** Sizes of a side, by its flags and the architecture. */
function sideOf(flags: Flags, side: 'encoder' | 'decoder'): ArchitectureSizes & { every: number } {
  const { sizes } = flags
  return {
    width: flags.number(`${side}-embed-dim`) ?? sizes.width,
    inner: flags.number(`${side}-ffn-embed-dim`) ?? sizes.inner,
    layers: flags.number(`${side}-layers`) ?? sizes.layers,
    heads: flags.number(`${side}-attention-heads`) ?? sizes.heads,
    every: frequencyOf(flags, side),
  }
}

/** Both sides; width and heads are one here, so that the decoder's follow from the encoder's. */
function sidesOf(flags: Flags) {
  const encoder = sideOf(flags, 'encoder')
  for (const [name, own] of [
    ['embed-dim', encoder.width],
    ['attention-heads', encoder.heads],
  ] as const) {
    const other = flags.number(`decoder-${name}`) ?? own
    if (other !== own)
      throw new ConfigError(`must be as --encoder-${name}, ${own}, got ${other}`, {
        path: `--decoder-${name}`,
      })
  }
  const decoder = sideOf(flags, 'decoder')
  const inner = flags.number('decoder-ffn-embed-dim') ?? encoder.inner
  return { encoder, decoder: { ...decoder, inner } }
}

/** How many layers of a side have experts. */
const sparseLayers = ({ layers, every }: { layers: number; every: number }): number =>
  every === 0 ? 0 : Math.floor(layers / every)

function translationModel(flags: Flags, sequenceLength: number, notes: string[]): Record<string, unknown> {
  if (!flags.has('share-all-embeddings'))
    notes.push('sources, targets and head share their embedding (--share-all-embeddings)')
  notes.push(
    'layers are normalized before, not after, as with --encoder-normalize-before --decoder-normalize-before',
  )
  return choicesOf(flags) === 1 ? topOneModel(flags, sequenceLength, notes) : topTwoModel(flags)
}

function topTwoModel(flags: Flags): Record<string, unknown> {
  const { encoder, decoder } = sidesOf(flags)
  const experts = Math.max(2, flags.number('moe-expert-count') ?? 0)
  const share = evaluationShare(flags)
  return {
    model: {
      type: 'nllb-moe',
      d_model: encoder.width,
      encoder_layers: encoder.layers,
      decoder_layers: decoder.layers,
      encoder_ffn_dim: encoder.inner,
      decoder_ffn_dim: decoder.inner,
      encoder_attention_heads: encoder.heads,
      encoder_sparse_step: encoder.every,
      decoder_sparse_step: decoder.every,
      num_experts: experts,
      second_expert_policy: policyOf(flags),
      normalize_router_prob_before_dropping: flags.has('moe-normalize-gate-prob-before-dropping'),
      batch_prioritized_routing: flags.has('moe-batch-prioritized-routing'),
      // Not above 0: `2 ceil(T / E)` slots, as in training.
      moe_eval_capacity_token_fraction: share > 0 ? share : Math.min(1, 2 / experts),
      moe_token_dropout: flags.number('moe-expert-output-masking') ?? 0,
      activation_function: activationOf(flags),
      scale_embedding: !flags.has('no-scale-embedding'),
      init_std: encoder.width ** -0.5, // of embeddings there, and about that of its other matrices
    },
  }
}

function topOneModel(flags: Flags, sequenceLength: number, notes: string[]): Record<string, unknown> {
  notes.push("top-1 experts: Switch's layers, with T5's positions and capacity by sequence")
  const { encoder, decoder } = sidesOf(flags)
  if (decoder.inner !== encoder.inner)
    throw new ConfigError(`must be as --encoder-ffn-embed-dim, ${encoder.inner}, got ${decoder.inner}`, {
      path: '--decoder-ffn-embed-dim',
    })
  const experts = Math.max(1, flags.number('moe-expert-count') ?? 0)
  const share = Math.ceil(sequenceLength / experts)
  return {
    model: {
      type: 'switch_transformers',
      d_model: encoder.width,
      d_ff: encoder.inner,
      num_layers: encoder.layers,
      num_decoder_layers: decoder.layers,
      num_sparse_encoder_layers: sparseLayers(encoder),
      num_sparse_decoder_layers: sparseLayers(decoder),
      num_heads: encoder.heads,
      num_experts: experts,
      expert_capacity: Math.max(1, Math.floor((flags.number('capacity-factor') ?? 1) * share)),
      router_jitter_noise: 0,
      dense_act_fn: activationOf(flags),
    },
    init: { kind: 'truncated', scale: 0.1 },
  }
}

function languageModel(flags: Flags, notes: string[]): Record<string, unknown> {
  const { width, inner, layers, heads, every } = sideOf(flags, 'decoder')
  notes.push(
    "the decoder is switchyard's own: RMS norms before layers, rotary positions, gated feed-forwards",
  )
  const sizes = {
    hidden_size: width,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    tie_word_embeddings: flags.has('share-decoder-input-output-embed'),
  }
  if (every === 0) return { model: { type: 'mistral', ...sizes } }
  const k = choicesOf(flags)
  if (flags.has('moe-batch-prioritized-routing'))
    notes.push(
      'without effect: --moe-batch-prioritized-routing (by it a decoder would see what it is to predict)',
    )
  const normalize = flags.has('moe-normalize-gate-prob-before-dropping')
  const share = evaluationShare(flags)
  return {
    model: {
      type: 'switchyard_moe',
      ...sizes,
      num_local_experts: flags.number('moe-expert-count'),
      moe_layers: { every },
      dense_intermediate_size: inner,
    },
    router:
      k === 1
        ? { kind: 'top-k', k: 1, normalize: false }
        : { kind: 'top-2', policy: policyOf(flags), threshold: 0.5, normalize },
    dispatch: {
      kind: 'capacity',
      ...{ factor: k === 1 ? (flags.number('capacity-factor') ?? 1) : 2, share: 'tokens', minimum: 1 },
      ...(share > 0 && { evalTokenFraction: share }),
      renormalize: k === 2 && !normalize,
    },
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
  const sides = isPairs ? Object.values(sidesOf(flags)) : [sideOf(flags, 'decoder')]
  const layers = sides.reduce((sum, side) => sum + sparseLayers(side), 0)
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

function scheduleOf(flags: Flags, steps: number): Record<string, unknown> {
  const kinds = ['fixed', 'inverse_sqrt', 'polynomial_decay', 'cosine'] as const
  const kind = flags.word('lr-scheduler', kinds) ?? 'fixed'
  const given = flags.number('warmup-updates') ?? (kind === 'inverse_sqrt' ? 4000 : 0)
  const warmup = Math.min(given, kind === 'polynomial_decay' ? steps - 1 : steps)
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
