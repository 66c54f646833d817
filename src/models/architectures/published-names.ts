// Names and layouts of tensors in published files, beside those in memory.

import type { CheckpointPiece, Declarations } from './architecture.ts'

/** The pieces of tensors that files store whole and under their in-memory path. */
export function wholePieces(declarations: Declarations): CheckpointPiece[] {
  return [...declarations].map(([name, { shape }]) => ({ name, shape, parameter: name }))
}

/** How a type names, in files, what lies below each layer's `mlp.` in memory. */
export interface PublishedNames {
  /** The name that stands for a path, where it differs. */
  rename?(path: string): string
  /** Stacked experts that files hold one by one: the folder of experts, and their matrices' names. */
  experts?: { folder: string; gate: string; up: string; down: string }
}

/** The usual names of experts in files, as Qwen, OLMoE and DeepSeek have them. */
export const projectionNames = {
  folder: 'mlp.experts',
  gate: 'gate_proj',
  up: 'up_proj',
  down: 'down_proj',
} as const

/** The pieces of a model of stacked gated experts. */
export function publishedPieces(declarations: Declarations, names: PublishedNames): CheckpointPiece[] {
  return wholePieces(declarations).flatMap(piece => {
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

/**
 * The pieces of a model whose files hold experts one by one, as `EXPERTS.expert_0.WI.weight`.
 *
 * @param publishedName the file's name of a path in memory
 * @param matrices the file's names of an expert's matrices
 */
export function perExpertPieces(
  declarations: Declarations,
  publishedName: (path: string) => string,
  matrices: Readonly<Record<string, string>>,
): CheckpointPiece[] {
  return wholePieces(declarations).flatMap((piece): CheckpointPiece[] => {
    const [, folder = '', matrix = '', bias] =
      /^(.+\.experts)\.(up_proj|down_proj)(_bias)?$/.exec(piece.name) ?? []
    if (folder === '') return [{ ...piece, name: publishedName(piece.name) }]
    const [experts = 0, ...shape] = piece.shape
    return Array.from({ length: experts }, (_, index) => ({
      name: `${publishedName(folder)}.expert_${index}.${matrices[matrix]}.${bias ? 'bias' : 'weight'}`,
      shape,
      parameter: piece.parameter,
      index,
    }))
  })
}
