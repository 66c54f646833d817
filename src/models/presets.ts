// Published Mixture-of-Experts models, and how many parameters each part of them has: closed forms, nothing is made.
// Opening their weights is another matter; modelTypes says which can be.

import { ConfigError } from '../errors.ts'

/** What of a published model its parameters follow from. */
export interface Preset {
  title: string
  source: string
  hidden: number
  vocabulary: number
  /** Matrices of vocabulary by hidden: 1 when the head is the embedding. */
  embeddings: 1 | 2
  /** Parameters of one attention, its own norms included. */
  attention: number
  /** Attentions of all layers: two in each decoder layer of an encoder-decoder. */
  attentions: number
  /** Norms of width `hidden`; 0 where published counts leave them out. */
  norms: number
  dense: FeedForward
  expert: FeedForward
  /** Experts of one layer that a router chooses from, and how many it chooses. */
  experts: number
  chosen: number
  /** Experts of one layer that every token passes. */
  shared: number
}

/** Layers of one kind. */
interface FeedForward {
  layers: number
  width: number
  /** 3 with a gate, 2 without. */
  matrices: 2 | 3
}

interface Heads {
  hidden: number
  heads: number
  /** Heads of keys and values. Default: as many. */
  keyValueHeads?: number
  headDim: number
}

/** Queries and outputs of all heads, keys and values of as many as there are. */
function grouped({ hidden, heads, keyValueHeads = heads, headDim }: Heads): number {
  return 2 * hidden * headDim * (heads + keyValueHeads)
}

/** Queries, and keys with values, through low-rank maps, each with a norm (DeepSeek-V2, arXiv:2405.04434). */
function latent({
  hidden,
  heads,
  queryRank,
  rank,
  plain,
  rotary,
  value,
}: Record<LatentSize, number>): number {
  const queries = hidden * queryRank + queryRank + queryRank * heads * (plain + rotary)
  const keysAndValues = hidden * (rank + rotary) + rank + rank * heads * (plain + value)
  return queries + keysAndValues + heads * value * hidden
}

type LatentSize = 'hidden' | 'heads' | 'queryRank' | 'rank' | 'plain' | 'rotary' | 'value'

function mixtral(
  title: string,
  layers: number,
  hidden: number,
  width: number,
  heads: number,
  vocabulary: number,
): Preset {
  return {
    title,
    source: 'arXiv:2401.04088, config.json',
    hidden,
    vocabulary,
    embeddings: 2,
    attention: grouped({ hidden, heads, keyValueHeads: 8, headDim: 128 }),
    attentions: layers,
    norms: 2 * layers + 1,
    dense: { layers: 0, width: 0, matrices: 3 },
    expert: { layers, width, matrices: 3 },
    experts: 8,
    chosen: 2,
    shared: 0,
  }
}

/** An encoder and a decoder of T5's kind; `layers` in each. Published counts have neither norms nor position biases. */
function switchTransformer(
  title: string,
  sizes: { layers: number; hidden: number; width: number; heads: number; matrices: 2 | 3; experts: number },
  { sparse, embeddings }: { sparse: number; embeddings: 1 | 2 },
): Preset {
  const { layers, hidden, width, heads, matrices, experts } = sizes
  return {
    title,
    source: 'arXiv:2101.03961',
    hidden,
    vocabulary: 32_128,
    embeddings,
    attention: grouped({ hidden, heads, headDim: 64 }),
    attentions: 3 * layers,
    norms: 0,
    dense: { layers: 2 * layers - sparse, width, matrices },
    expert: { layers: sparse, width, matrices },
    experts,
    chosen: 1,
    shared: 0,
  }
}

const base = { layers: 12, hidden: 768, width: 3072, heads: 12, matrices: 2 } as const

export const presets = {
  'mixtral-8x7b': mixtral('Mixtral 8x7B', 32, 4096, 14_336, 32, 32_000),
  'mixtral-8x22b': mixtral('Mixtral 8x22B', 56, 6144, 16_384, 48, 32_768),
  'switch-base-128': switchTransformer(
    'Switch-Base, 128 experts',
    { ...base, experts: 128 },
    { sparse: 12, embeddings: 1 },
  ),
  'switch-base-256': switchTransformer(
    'Switch-Base, 256 experts',
    { ...base, experts: 256 },
    { sparse: 12, embeddings: 1 },
  ),
  'switch-xxl': switchTransformer(
    'Switch-XXL',
    { layers: 24, hidden: 4096, width: 10_240, heads: 64, matrices: 3, experts: 128 },
    { sparse: 24, embeddings: 2 },
  ),
  'switch-c': switchTransformer(
    'Switch-C',
    { layers: 15, hidden: 2080, width: 6144, heads: 32, matrices: 2, experts: 2048 },
    { sparse: 30, embeddings: 1 },
  ),
  'glam-64b-64e': {
    title: 'GLaM 64B/64E',
    source: 'arXiv:2112.06905',
    hidden: 8192,
    vocabulary: 256_000,
    embeddings: 1,
    attention: grouped({ hidden: 8192, heads: 128, headDim: 128 }),
    attentions: 64,
    norms: 0,
    dense: { layers: 32, width: 32_768, matrices: 3 },
    expert: { layers: 32, width: 32_768, matrices: 2 },
    experts: 64,
    chosen: 2,
    shared: 0,
  },
  'deepseek-v3': {
    title: 'DeepSeek-V3',
    source: 'arXiv:2412.19437, config.json; without multi-token prediction and the balancing bias',
    hidden: 7168,
    vocabulary: 129_280,
    embeddings: 2,
    attention: latent({
      hidden: 7168,
      heads: 128,
      queryRank: 1536,
      rank: 512,
      plain: 128,
      rotary: 64,
      value: 128,
    }),
    attentions: 61,
    norms: 2 * 61 + 1,
    dense: { layers: 3, width: 18_432, matrices: 3 },
    expert: { layers: 58, width: 2048, matrices: 3 },
    experts: 256,
    chosen: 8,
    shared: 1,
  },
  'olmoe-1b-7b': {
    title: 'OLMoE-1B-7B',
    source: 'arXiv:2409.02060, config.json',
    hidden: 2048,
    vocabulary: 50_304,
    embeddings: 2,
    attention: grouped({ hidden: 2048, heads: 16, headDim: 128 }) + 2 * 2048, // norms of queries and keys
    attentions: 16,
    norms: 2 * 16 + 1,
    dense: { layers: 0, width: 0, matrices: 3 },
    expert: { layers: 16, width: 1024, matrices: 3 },
    experts: 64,
    chosen: 8,
    shared: 0,
  },
} as const satisfies Record<string, Preset>

export const presetNames = Object.keys(presets) as (keyof typeof presets)[]

/** Throws ConfigError listing the presets for a name that is none. */
export function presetOf(name: string): Preset {
  if (Object.hasOwn(presets, name)) return presets[name as keyof typeof presets]
  throw new ConfigError(`is no preset; there are ${presetNames.join(', ')}`, { path: `preset:${name}` })
}

export interface PresetCounts {
  total: number
  /** Those that one token uses, the embedding included. */
  active: number
  parts: Record<'embeddings' | 'attention' | 'norms' | 'dense' | 'routers' | 'experts' | 'shared', number>
}

/** Feed-forwards have `matrices hidden width` parameters, routers `hidden experts`. */
export function presetCounts(preset: Preset): PresetCounts {
  const { hidden, expert, dense, experts, chosen } = preset
  const ofOne = expert.layers * expert.matrices * hidden * expert.width
  const parts = {
    embeddings: preset.embeddings * preset.vocabulary * hidden,
    attention: preset.attentions * preset.attention,
    norms: preset.norms * hidden,
    dense: dense.layers * dense.matrices * hidden * dense.width,
    routers: expert.layers * hidden * experts,
    experts: experts * ofOne,
    shared: preset.shared * ofOne,
  }
  const total = Object.values(parts).reduce((sum, count) => sum + count, 0)
  return { total, active: total - (experts - chosen) * ofOne, parts }
}
