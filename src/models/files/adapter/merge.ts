// Adapters added to the weights that they are for.
// Shapes: E experts, r rank, I and J the last two dimensions of a stack of matrices.

import { FormatError } from '../../../errors.ts'
import type { Module } from '../../../nn/index.ts'
import { type DType, noGrad, type Tensor, tidy } from '../../../torch/index.ts'
import type { CheckpointPiece, Declarations } from '../../architectures/architecture.ts'
import { publishedPiecesOf } from '../../architectures/create.ts'
import { wholePieces } from '../../architectures/published-names.ts'
import type { AnyModelConfig } from '../../architectures/table.ts'
import { partOf } from '../tensor-part.ts'
import { factors, type LowRank, readAdapter, readPeftConfig, scaleOf } from './peft.ts'

/** What an adapter does to which part of which parameter. */
interface Change {
  piece: CheckpointPiece
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
      for (const { piece, apply } of changes) tidy(() => apply(partOf(parameters, piece), scale))
    }),
  )
}

function changesOf(declarations: Declarations, config: AnyModelConfig, folder: string): Change[] {
  const layouts = [...publishedPiecesOf(config, declarations), ...wholePieces(declarations)]
  const pieces = new Map(layouts.map(piece => [piece.name, piece]))
  const { additions, whole } = readAdapter(folder)
  const problems: string[] = []
  const checked = (
    name: string,
    given: readonly Tensor[],
    piece: CheckpointPiece | null,
    fits: (piece: CheckpointPiece) => boolean,
    apply: (piece: CheckpointPiece) => Change['apply'],
  ): Change[] => {
    if (piece && fits(piece)) return [{ piece, apply: apply(piece) }]
    const shapes = given.map(({ shape }) => `[${shape.join(', ')}]`).join(' and ')
    problems.push(
      piece ? `${name} has ${shapes}, for [${piece.shape.join(', ')}]` : `${name} is not in the model`,
    )
    return []
  }
  const changes = [
    ...additions.flatMap(low =>
      checked(
        low.module,
        [low.a, low.b],
        pieceOf(low, pieces),
        piece => fits(low, piece),
        piece => (part, scale) => part.add_(deltaOf(low, piece.shape, part.dtype).view(part.shape), scale),
      ),
    ),
    ...[...whole].flatMap(([name, tensor]) =>
      checked(
        name,
        [tensor],
        pieces.get(name) ?? null,
        piece => piece.shape.join() === tensor.shape.join(),
        () => part => part.copy_(tensor.view(part.shape)),
      ),
    ),
  ]
  if (problems.length === 0) return changes
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
  const stacks = [...pieces.values()].filter(
    ({ name, shape }) => shape.length === 3 && name.replace(/\.[^.]+$/, '') === module,
  )
  return pieces.get(`${module}.weight`) ?? stacks.at(-1 - depth) ?? null
}

function fits({ a, b }: LowRank, { shape }: CheckpointPiece): boolean {
  if (shape.length === 2) return a.size(1) === shape[1] && b.size(0) === shape[0] && a.size(0) === b.size(1)
  const [experts = 0, rows, columns] = shape
  const isWhole = a.size(0) % experts === 0 && a.size(0) === b.size(1)
  return shape.length === 3 && isWhole && a.size(1) === rows && b.size(0) === columns
}

/** `B A`; of a stack `(A_e)^T (B_e)^T` with A [E r, I], B [J, r E] (PEFT, tuners/lora/layer.py, ParamWrapper). */
function deltaOf({ a, b }: LowRank, shape: readonly number[], dtype: DType): Tensor {
  if (shape.length === 2) return b.to(dtype).matmul(a.to(dtype))
  const { left, right } = factors(a.to(dtype), b.to(dtype), shape[0] ?? 0)
  return left.matmul(right)
}
