// A command line of fairseq-train as a recipe. What is left out is as in fairseq (fairseq/options.py, models/transformer).

import { ConfigError } from '../../errors.ts'
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

/** @throws ConfigError for another task than these, and for an architecture that is not for it */
export function taskOf({ values }: FairseqCommand): 'translation' | 'language_modeling' {
  const arch = values.get('arch') ?? ''
  const isLanguageModel = /^transformer_lm/.test(arch)
  if (!isLanguageModel && !/^transformer/.test(arch))
    throw new ConfigError(`must be transformer... or transformer_lm..., got '${arch}'`, { path: '--arch' })
  const own = isLanguageModel ? 'language_modeling' : 'translation'
  const task = values.get('task') ?? own
  if (task === own) return own
  throw new ConfigError(`must be ${own} for --arch ${arch}, got '${task}'`, { path: '--task' })
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
    ...(isPairs ? translationModel(flags, notes) : languageModel(flags, notes)),
    dropout: dropoutOf(flags, isPairs, notes),
    losses: lossesOf(flags, notes),
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

  constructor({ values }: FairseqCommand) {
    this.#values = values
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
  const name = flags.word('activation-fn', activations) ?? 'relu'
  return name === 'gelu_accurate' ? 'gelu_pytorch_tanh' : name
}

/** Every how many layers there are experts; 0: nowhere. */
function frequencyOf(flags: Flags, side: 'encoder' | 'decoder'): number {
  const experts = flags.number('moe-expert-count') ?? 0
  return experts > 0 ? (flags.number(`${side}-moe-freq`) ?? flags.number('moe-freq') ?? 0) : 0
}

const hasExperts = (flags: Flags): boolean =>
  frequencyOf(flags, 'encoder') > 0 || frequencyOf(flags, 'decoder') > 0

function policyOf(flags: Flags): 'all' | 'sampling' | 'random' {
  return flags.word('moe-second-expert-policy', ['all', 'sampling', 'random']) ?? 'sampling'
}

/** Share of tokens that an expert takes in evaluation; not above 0: as in training. */
const evaluationShare = (flags: Flags): number => flags.number('moe-eval-capacity-token-fraction') ?? 0.25

function translationModel(flags: Flags, notes: string[]): Record<string, unknown> {
  const size = (name: string, standard: number): number =>
    flags.number(`encoder-${name}` as FairseqFlag) ?? standard
  const width = size('embed-dim', 512)
  const decoder = flags.number('decoder-embed-dim') ?? width
  if (decoder !== width)
    throw new ConfigError(`must be as --encoder-embed-dim, ${width}, got ${decoder}`, {
      path: '--decoder-embed-dim',
    })
  if (!flags.has('share-all-embeddings'))
    notes.push('sources, targets and head share their embedding (--share-all-embeddings)')
  notes.push(
    'layers are normalized before, not after, as with --encoder-normalize-before --decoder-normalize-before',
  )
  return choicesOf(flags) === 1 ? topOneModel(flags, size, notes) : topTwoModel(flags, size)
}

type SizeOf = (name: string, standard: number) => number

function topTwoModel(flags: Flags, size: SizeOf): Record<string, unknown> {
  const experts = flags.number('moe-expert-count') ?? 0
  const share = evaluationShare(flags)
  return {
    model: {
      type: 'nllb-moe',
      d_model: size('embed-dim', 512),
      encoder_layers: size('layers', 6),
      decoder_layers: flags.number('decoder-layers') ?? 6,
      encoder_ffn_dim: size('ffn-embed-dim', 2048),
      decoder_ffn_dim: flags.number('decoder-ffn-embed-dim') ?? size('ffn-embed-dim', 2048),
      encoder_attention_heads: size('attention-heads', 8),
      decoder_attention_heads: flags.number('decoder-attention-heads') ?? 8,
      encoder_sparse_step: frequencyOf(flags, 'encoder'),
      decoder_sparse_step: frequencyOf(flags, 'decoder'),
      num_experts: Math.max(2, experts),
      second_expert_policy: policyOf(flags),
      normalize_router_prob_before_dropping: flags.has('moe-normalize-gate-prob-before-dropping'),
      batch_prioritized_routing: flags.has('moe-batch-prioritized-routing'),
      // Not above 0: `2 ceil(T / E)` slots, as in training.
      moe_eval_capacity_token_fraction: share > 0 ? share : Math.min(1, 2 / Math.max(2, experts)),
      moe_token_dropout: flags.number('moe-expert-output-masking') ?? 0,
      activation_function: activationOf(flags),
      scale_embedding: !flags.has('no-scale-embedding'),
      init_std: size('embed-dim', 512) ** -0.5, // of embeddings there, and about that of its other matrices
    },
  }
}

/** Layers with experts are fairseq's 1, 1 + n, ... of both kinds. */
function topOneModel(flags: Flags, size: SizeOf, notes: string[]): Record<string, unknown> {
  notes.push("--moe-top1-expert: Switch's layers, with T5's positions and capacity by sequence")
  const layers = { encoder: size('layers', 6), decoder: flags.number('decoder-layers') ?? 6 }
  const sparse = (side: 'encoder' | 'decoder'): number => {
    const every = frequencyOf(flags, side)
    return every === 0 ? 0 : Math.floor(layers[side] / every)
  }
  const [width, heads] = [size('embed-dim', 512), size('attention-heads', 8)]
  return {
    model: {
      type: 'switch_transformers',
      d_model: width,
      d_kv: width / heads,
      d_ff: size('ffn-embed-dim', 2048),
      num_layers: layers.encoder,
      num_decoder_layers: layers.decoder,
      num_sparse_encoder_layers: sparse('encoder'),
      num_sparse_decoder_layers: sparse('decoder'),
      num_heads: heads,
      num_experts: Math.max(1, flags.number('moe-expert-count') ?? 0),
      router_jitter_noise: 0,
      dense_act_fn: activationOf(flags),
    },
    init: { kind: 'truncated', scale: 0.1 },
  }
}

function languageModel(flags: Flags, notes: string[]): Record<string, unknown> {
  const [width, layers] = [flags.number('decoder-embed-dim') ?? 512, flags.number('decoder-layers') ?? 6]
  const every = frequencyOf(flags, 'decoder')
  const inner = flags.number('decoder-ffn-embed-dim') ?? 2048
  notes.push(
    "the decoder is switchyard's own: RMS norms before layers, rotary positions, gated feed-forwards",
  )
  const sizes = {
    hidden_size: width,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: flags.number('decoder-attention-heads') ?? 8,
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

/** Of token vectors and branches of layers, of attention's probabilities, and of activations. */
function dropoutOf(flags: Flags, isPairs: boolean, notes: string[]): Record<string, number> {
  const attention = flags.number('attention-dropout') ?? 0
  if (attention > 0 && !isPairs)
    notes.push("without effect: --attention-dropout (the decoder's kernels know none)")
  const activation = flags.number('activation-dropout') ?? 0
  if (activation > 0)
    notes.push(
      hasExperts(flags)
        ? '--activation-dropout is of experts alone'
        : 'without effect: --activation-dropout (it is of experts alone)',
    )
  return {
    hidden: flags.number('dropout') ?? 0.1,
    ...(isPairs && { attention }),
    ...(hasExperts(flags) && { experts: activation }),
  }
}

/** `CE + wt * gate loss`, of all layers added up or their mean (criterions/moe_cross_entropy.py). */
function lossesOf(flags: Flags, notes: string[]): Record<string, unknown> {
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
  const method = flags.word('moe-gate-loss-combine-method', ['average', 'sum']) ?? 'average'
  const coefficient = flags.number('moe-gate-loss-wt') ?? 1
  const smoothing = flags.number('label-smoothing') ?? 0
  if (flags.has('label-smoothing') && flags.text('criterion')?.includes('label_smoothed') === false)
    notes.push('--label-smoothing counts, though --criterion has none')
  return {
    balance:
      hasExperts(flags) && coefficient > 0
        ? { kind: method === 'sum' ? 'gshard' : 'fairseq', coefficient }
        : { kind: 'none' },
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
