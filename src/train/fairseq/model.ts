// The model that flags of fairseq-train describe: sizes, experts, routers.

import { ConfigError } from '../../errors.ts'
import type { ArchitectureSizes } from './architectures.ts'
import type { Flags } from './values.ts'

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
export function sideOf(flags: Flags, side: 'encoder' | 'decoder'): ArchitectureSizes & { every: number } {
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
export function sidesOf(flags: Flags) {
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
export const sparseLayers = ({ layers, every }: { layers: number; every: number }): number =>
  every === 0 ? 0 : Math.floor(layers / every)

export function translationModel(
  flags: Flags,
  sequenceLength: number,
  notes: string[],
): Record<string, unknown> {
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

export function languageModel(flags: Flags, notes: string[]): Record<string, unknown> {
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
