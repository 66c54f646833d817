// Adapters added to the weights that they are for.
// Shapes: E experts, r rank, I and J the last two dimensions of a stack of matrices.

import { FormatError } from '../../../errors.ts'
import type { Module } from '../../../nn/index.ts'
import { noGrad, type Tensor, tidy } from '../../../torch/index.ts'
import type { CheckpointPiece, Declarations } from '../../architectures/architecture.ts'
import { publishedPiecesOf } from '../../architectures/create.ts'
import { wholePieces } from '../../architectures/published-names.ts'
import type { AnyModelConfig } from '../../architectures/table.ts'
import { partOf } from '../tensor-part.ts'
import { readPeftConfig, scaleOf } from './peft-config.ts'
import { factors, type LowRank, readAdapter } from './peft-tensors.ts'

/** What an adapter does to a part of a parameter. */
interface Change {
  /** What the adapter calls it. */
  name: string
  tensors: readonly Tensor[]
  /** Null where the model has nothing of that name. */
  piece: CheckpointPiece | null
  /** Whether the tensors are of its shape. */
  fits: boolean
  apply(part: Tensor, scale: number): void
}

/**
 * Adds an adapter to a model's weights, which are then what the adapted model computes with. Modules may be called as
 * transformers 5 has them in memory or as published files do.
 *
 * @throws FormatError listing every name and shape that the model has not; nothing is half-merged
 */
export function mergeAdapter(model: Module, config: AnyModelConfig, folder: string): void {
  const scale = scaleOf(readPeftConfig(folder))
  noGrad(() =>
    tidy(() => {
      const parameters = model.stateDict()
      const changes = changesOf(model.declarations(), config, folder)
      refuseMismatch(changes, folder)
      for (const { piece, apply } of changes)
        tidy(() => apply(partOf(parameters, piece as CheckpointPiece), scale))
    }),
  )
}

function changesOf(declarations: Declarations, config: AnyModelConfig, folder: string): Change[] {
  const layouts = [...publishedPiecesOf(config, declarations), ...wholePieces(declarations)]
  const pieces = new Map(layouts.map(piece => [piece.name, piece]))
  const { additions, whole } = readAdapter(folder)
  return [
    ...additions.map(low => addition(low, pieceOf(low, pieces))),
    ...[...whole].map(([name, tensor]) => replacement(name, tensor, pieces.get(name) ?? null)),
  ]
}

const addition = (low: LowRank, piece: CheckpointPiece | null): Change => ({
  ...{ name: low.module, tensors: [low.a, low.b], piece },
  fits: piece !== null && fits(low, piece),
  apply: (part, scale) => void part.add_(deltaOf(low, piece?.shape ?? [], part).view(part.shape), scale),
})

const replacement = (name: string, tensor: Tensor, piece: CheckpointPiece | null): Change => ({
  ...{ name, tensors: [tensor], piece },
  fits: piece?.shape.join() === tensor.shape.join(),
  apply: part => void part.copy_(tensor.view(part.shape)),
})

function refuseMismatch(changes: readonly Change[], folder: string): void {
  const problems = changes.flatMap(({ name, tensors, piece, fits: isRight }) => {
    if (isRight) return []
    const shapes = tensors.map(({ shape }) => `[${shape.join(', ')}]`).join(' and ')
    return piece ? `${name} has ${shapes}, for [${piece.shape.join(', ')}]` : `${name} is not in the model`
  })
  if (problems.length === 0) return
  const more = problems.length > 8 ? `; and ${problems.length - 8} more` : ''
  throw new FormatError(`is for another base than this: ${problems.slice(0, 8).join('; ')}${more}`, {
    file: folder,
  })
}

/** A linear layer's weight; or of a module's own stacks, which PEFT wraps in the order of its parameters, one. */
function pieceOf(
  { module, depth }: LowRank,
  pieces: ReadonlyMap<string, CheckpointPiece>,
): CheckpointPiece | null {
  const linear = pieces.get(`${module}.weight`)
  if (linear) return linear
  const stacks = [...pieces.values()].filter(
    ({ name, shape }) => shape.length === 3 && name.slice(0, name.lastIndexOf('.')) === module,
  )
  return stacks.at(-1 - depth) ?? null
}

function fits({ a, b }: LowRank, { shape }: CheckpointPiece): boolean {
  if (shape.length === 2) return a.size(1) === shape[1] && b.size(0) === shape[0] && a.size(0) === b.size(1)
  const [experts = 0, rows, columns] = shape
  const isWhole = a.size(0) % experts === 0 && a.size(0) === b.size(1)
  return shape.length === 3 && isWhole && a.size(1) === rows && b.size(0) === columns
}

/** `B A`; of a stack `(A_e)^T (B_e)^T` with A [E r, I], B [J, r E] (PEFT, tuners/lora/layer.py, ParamWrapper). */
function deltaOf(low: LowRank, shape: readonly number[], { dtype, device }: Tensor): Tensor {
  const [a, b] = [low.a, low.b].map(factor => factor.to(dtype).to(device)) as [Tensor, Tensor]
  if (shape.length === 2) return b.matmul(a)
  const { left, right } = factors(a, b, shape[0] ?? 0)
  return left.matmul(right)
}
