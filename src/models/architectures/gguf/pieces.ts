// GGUF's names and layouts of tensors (gguf-py/gguf/constants.py and tensor_mapping.py of llama.cpp).

import type { CheckpointPiece, Declarations } from '../architecture.ts'

/** Names of what lies under `model.layers.N.`, without `.weight` and `.bias`. */
const layerNames: Record<string, string> = {
  input_layernorm: 'attn_norm',
  post_attention_layernorm: 'ffn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  'self_attn.q_a_proj': 'attn_q_a',
  'self_attn.q_a_layernorm': 'attn_q_a_norm',
  'self_attn.q_b_proj': 'attn_q_b',
  'self_attn.kv_a_proj_with_mqa': 'attn_kv_a_mqa',
  'self_attn.kv_a_layernorm': 'attn_kv_a_norm',
  'self_attn.kv_b_proj': 'attn_kv_b',
  'mlp.gate': 'ffn_gate_inp',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  'mlp.shared_expert.gate_proj': 'ffn_gate_shexp',
  'mlp.shared_expert.up_proj': 'ffn_up_shexp',
  'mlp.shared_expert.down_proj': 'ffn_down_shexp',
}

/** Names that no rule gives. */
const exactNames: Record<string, string> = {
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  'lm_head.weight': 'output.weight',
}

const exactLayerNames: Record<string, string> = {
  'self_attn.sinks': 'attn_sinks.weight',
  'mlp.gate.e_score_correction_bias': 'exp_probs_b.bias',
  'mlp.experts.down_proj': 'ffn_down_exps.weight',
}

function nameOf(path: string): string {
  const [, layer, part = ''] = /^model\.layers\.(\d+)\.(.+)$/.exec(path) ?? []
  if (layer === undefined) return exactNames[path] ?? path
  const [, stem = '', ending] = /^(.+)\.(weight|bias)$/.exec(part) ?? []
  return `blk.${layer}.${exactLayerNames[part] ?? `${layerNames[stem] ?? stem}.${ending}`}`
}

/** The usual layout: gate and up of stacked gated experts apart, everything else whole. */
export function splitExperts(declarations: Declarations): CheckpointPiece[] {
  return [...declarations].flatMap(([parameter, { shape }]): CheckpointPiece[] => {
    const layer = stackedGateUp(parameter)
    if (layer === undefined) return [{ name: nameOf(parameter), shape, parameter }]
    const [experts, both, hidden] = shape as [number, number, number]
    const half = { shape: [experts, both / 2, hidden], parameter }
    return [
      { ...half, name: `blk.${layer}.ffn_gate_exps.weight`, rows: [0, both / 2] },
      { ...half, name: `blk.${layer}.ffn_up_exps.weight`, rows: [both / 2, both / 2] },
    ]
  })
}

/** Gate and up of experts in one tensor, as newer converters write them. */
export function mergedExperts(declarations: Declarations): CheckpointPiece[] {
  return [...declarations].flatMap(([parameter, { shape }]) => {
    const layer = stackedGateUp(parameter)
    return layer === undefined ? [] : [{ name: `blk.${layer}.ffn_gate_up_exps.weight`, shape, parameter }]
  })
}

/** Experts one by one, as files from before April 2024 have them. */
export function separateExperts(declarations: Declarations): CheckpointPiece[] {
  return [...declarations].flatMap(([parameter, { shape }]) => {
    const [, layer, matrix] =
      /^model\.layers\.(\d+)\.mlp\.experts\.(gate_up_proj|down_proj)$/.exec(parameter) ?? []
    if (layer === undefined) return []
    const [experts, rows, columns] = shape as [number, number, number]
    const parts: Omit<CheckpointPiece, 'parameter'>[] =
      matrix === 'down_proj'
        ? [{ name: 'ffn_down', shape: [rows, columns] }]
        : [
            { name: 'ffn_gate', shape: [rows / 2, columns], rows: [0, rows / 2] },
            { name: 'ffn_up', shape: [rows / 2, columns], rows: [rows / 2, rows / 2] },
          ]
    return Array.from({ length: experts }, (_, index) =>
      parts.map(part => ({ ...part, name: `blk.${layer}.${part.name}.${index}.weight`, parameter, index })),
    ).flat()
  })
}

const stackedGateUp = (path: string): string | undefined =>
  /^model\.layers\.(\d+)\.mlp\.experts\.gate_up_proj$/.exec(path)?.[1]

/**
 * Queries and keys as llama's converter permutes them: each head's rows in pairs, since llama.cpp rotates this
 * architecture's neighbours and not its halves.
 */
export function pairedForRotation(
  pieces: readonly CheckpointPiece[],
  heads: { q_proj: number; k_proj: number },
): CheckpointPiece[] {
  return pieces.map(piece => {
    const [, map] = /self_attn\.(q_proj|k_proj)\.(?:weight|bias)$/.exec(piece.parameter) ?? []
    return map === undefined ? piece : { ...piece, pairedHeads: heads[map as keyof typeof heads] }
  })
}
