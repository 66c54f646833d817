// What a model file offers to the rest: everything known of a model from its config alone, and its making.

import type { DecoderConfig } from './config.ts'
import type { CausalLM, LanguageModel } from './decoder.ts'

/** Shapes of a model's tensors by their in-memory path, in order. */
export type ParameterShapes = Map<string, number[]>

/** Which part of a tensor in memory a tensor of a file is. What is named is taken in this order. */
export interface TensorPart {
  /** The slice of the first dimension. */
  index?: number
  /** Rows of each matrix. */
  rows?: [start: number, length: number]
  /** Every `step`-th column of each matrix, from `start` on. */
  columns?: [start: number, step: number]
  /** Rows of each of so many heads: [heads * R, C] seen as [heads, rows, C]. */
  headRows?: { heads: number; rows: [start: number, length: number] }
  /** Whether the file has each matrix transposed. */
  transposed?: true
  /** Heads whose rows the file pairs up side by side for rotation, where memory has them in halves. */
  pairedHeads?: number
}

/** A tensor of a published file, and which part of a tensor in memory it is. */
export interface CheckpointPiece extends TensorPart {
  /** Name in the file. */
  name: string
  shape: number[]
  /** Path in memory. */
  parameter: string
}

/** What every model file has. */
export interface ModelFile<C, M> {
  parseConfig(json: unknown, source: string): C
  /** Its feed-forwards in a few words, as `8 experts top-2`. */
  feedForward(config: C): string
  /** Contents of the config.json of a model whose weights are stored in `dtype`, as HF names it. */
  toJson(config: C, dtype: string): Record<string, unknown>
  parameterShapes(config: C): ParameterShapes
  /** How published files store each tensor. */
  checkpointPieces(config: C): CheckpointPiece[]
  /** Whether a file may hold a tensor that no parameter takes, as weights of a part that is not computed here. */
  isIgnored?(config: C, name: string): boolean
  create(config: C): M
}

/** A type of one stack of layers, as `model_type` in config.json names it; an encoder says that it is not causal. */
export interface Architecture<C extends DecoderConfig = DecoderConfig, M extends LanguageModel = CausalLM>
  extends ModelFile<C, M> {
  /** Elements of a layer that one token does not use: those of the experts beyond the K chosen. */
  inactiveParameters(config: C, layer: number): number
  /** Whether a position sees nothing of later ones. Default: yes. */
  isCausal?: boolean
  /** What attention costs. Default: grouped-query attention. */
  attentionCost?(config: C): AttentionCost
  /** Positions that a layer looks back on; null: all. Default: the config's sliding_window. */
  window?(config: C, layer: number): number | null
}

/** Per layer and position. */
export interface AttentionCost {
  /** FLOPs for each position attended to: scores, and the weighted sum. */
  flops: number
  /** Numbers that the cache keeps. */
  cached: number
}

/** Grouped-query attention's cost. */
export function groupedAttentionCost(config: DecoderConfig): AttentionCost {
  const { num_attention_heads: heads, num_key_value_heads: groups, head_dim } = config
  return { flops: 4 * heads * head_dim, cached: 2 * groups * head_dim }
}

/** Shapes by name, below one path. */
export type NamedShapes = Record<string, number[]>

/** What decoders have beside their feed-forwards; defaults are Mistral's. */
export interface DecoderShapeOptions {
  /** Default: groupedAttentionShapes(). */
  attention?: NamedShapes
  /** Norms with a bias. */
  normBias?: boolean
  headBias?: boolean
}

/** Shapes of a decoder, given those of each layer's feed-forward by name. */
export function decoderShapes(
  config: DecoderConfig,
  feedForward: (layer: number) => NamedShapes,
  {
    attention = groupedAttentionShapes(config),
    normBias = false,
    headBias = false,
  }: DecoderShapeOptions = {},
): ParameterShapes {
  const { hidden_size: hidden, vocab_size: vocab } = config
  const norm = (name: string): NamedShapes => ({
    [`${name}.weight`]: [hidden],
    ...(normBias && { [`${name}.bias`]: [hidden] }),
  })
  const shapes: ParameterShapes = new Map([['model.embed_tokens.weight', [vocab, hidden]]])
  const add = (prefix: string, named: NamedShapes): void => {
    for (const [name, shape] of Object.entries(named)) shapes.set(`${prefix}${name}`, shape)
  }
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const prefix = `model.layers.${i}.`
    add(prefix, norm('input_layernorm'))
    add(`${prefix}self_attn.`, attention)
    add(prefix, norm('post_attention_layernorm'))
    add(prefix, feedForward(i))
  }
  add('model.', norm('norm'))
  if (!config.tie_word_embeddings) {
    add('lm_head.', { weight: [vocab, hidden], ...(headBias && { bias: [vocab] }) })
  }
  return shapes
}

export interface AttentionShapeOptions {
  /** See AttentionOptions of nn. */
  bias?: 'all' | 'inputs' | 'none'
  queryKeyNorm?: 'head' | 'all heads' | null
  sinks?: boolean
}

/** Shapes of grouped-query attention. */
export function groupedAttentionShapes(
  config: DecoderConfig,
  { bias = 'none', queryKeyNorm = null, sinks = false }: AttentionShapeOptions = {},
): NamedShapes {
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: groups, head_dim } = config
  const [queries, keys] = [heads * head_dim, groups * head_dim]
  const norms: NamedShapes =
    queryKeyNorm === null
      ? {}
      : {
          'q_norm.weight': [queryKeyNorm === 'head' ? head_dim : queries],
          'k_norm.weight': [queryKeyNorm === 'head' ? head_dim : keys],
        }
  return {
    ...linearShapes('q_proj', [queries, hidden], bias !== 'none'),
    ...linearShapes('k_proj', [keys, hidden], bias !== 'none'),
    ...linearShapes('v_proj', [keys, hidden], bias !== 'none'),
    ...linearShapes('o_proj', [hidden, queries], bias === 'all'),
    ...norms,
    ...(sinks && { sinks: [heads] }),
  }
}

/** A weight [out, in], and if wanted a bias [out]. */
export function linearShapes(name: string, [out, into]: [number, number], bias = false): NamedShapes {
  return { [`${name}.weight`]: [out, into], ...(bias && { [`${name}.bias`]: [out] }) }
}

/** Shapes of a gated feed-forward. */
export function gatedMlpShapes(prefix: string, hidden: number, width: number): NamedShapes {
  return {
    [`${prefix}gate_proj.weight`]: [width, hidden],
    [`${prefix}up_proj.weight`]: [width, hidden],
    [`${prefix}down_proj.weight`]: [hidden, width],
  }
}

/** Shapes of stacked gated experts. */
export function gatedExpertShapes(
  prefix: string,
  experts: number,
  hidden: number,
  width: number,
): NamedShapes {
  return {
    [`${prefix}gate_up_proj`]: [experts, 2 * width, hidden],
    [`${prefix}down_proj`]: [experts, hidden, width],
  }
}

/** Shapes of a linear router and its stacked gated experts. */
export function routedExpertShapes(experts: number, hidden: number, width: number): NamedShapes {
  return {
    'mlp.gate.weight': [experts, hidden],
    ...gatedExpertShapes('mlp.experts.', experts, hidden, width),
  }
}

/** The pieces of tensors that files store whole and under their in-memory path. */
export function wholePieces(shapes: ParameterShapes): CheckpointPiece[] {
  return [...shapes].map(([name, shape]) => ({ name, shape, parameter: name }))
}

/** How a type names, in files, what lies below each layer's `mlp.` in memory. */
export interface PublishedNames {
  /** The name that stands for a path, where it differs. */
  rename?(path: string): string
  /** Stacked experts that files hold one by one: the folder of experts, and their matrices' names. */
  experts?: { folder: string; gate: string; up: string; down: string }
}

/** The pieces of a model of stacked gated experts. */
export function publishedPieces(shapes: ParameterShapes, names: PublishedNames): CheckpointPiece[] {
  return wholePieces(shapes).flatMap(piece => {
    const [, layer, part] =
      /^(model\.layers\.\d+)\.mlp\.experts\.(gate_up_proj|down_proj)$/.exec(piece.name) ?? []
    if (layer === undefined || !names.experts)
      return [{ ...piece, name: names.rename?.(piece.name) ?? piece.name }]
    const { folder, gate, up, down } = names.experts
    const [experts, rows, columns] = piece.shape as [number, number, number]
    const matrices: Omit<CheckpointPiece, 'parameter'>[] =
      part === 'down_proj'
        ? [{ name: down, shape: [rows, columns] }]
        : [
            { name: gate, shape: [rows / 2, columns], rows: [0, rows / 2] },
            { name: up, shape: [rows / 2, columns], rows: [rows / 2, rows / 2] },
          ]
    return Array.from({ length: experts }, (_, index) =>
      matrices.map(matrix => ({
        ...matrix,
        name: `${layer}.${folder}.${index}.${matrix.name}.weight`,
        parameter: piece.parameter,
        index,
      })),
    ).flat()
  })
}

/** The usual names of experts in files, as Qwen, OLMoE and DeepSeek have them. */
export const projectionNames = {
  folder: 'mlp.experts',
  gate: 'gate_proj',
  up: 'up_proj',
  down: 'down_proj',
} as const

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}
