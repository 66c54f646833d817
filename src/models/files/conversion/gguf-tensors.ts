// The tensors of the GGUF file that a model is written as, and their values a few rows at a time.

import type { Declaration } from '../../../nn/index.ts'
import { type Tensor, tidy } from '../../../torch/index.ts'
import type { CheckpointPiece } from '../../architectures/architecture.ts'
import { ggufRowOf } from '../../architectures/gguf/table.ts'
import { requireDecoder } from '../../architectures/table.ts'
import type { ParameterSource } from '../parameters.ts'
import type { ModelSource } from '../source.ts'

/** A tensor of the file, and what its parameter is declared as. */
export interface GgufModelTensor extends CheckpointPiece {
  declaration: Declaration
}

/**
 * What the file holds, in order.
 *
 * @throws ConfigError for a model that GGUF cannot describe
 */
export function ggufTensorsOf({ config, path, declarations }: ModelSource): GgufModelTensor[] {
  const decoder = requireDecoder(config, path)
  const pieces = ggufRowOf(decoder).layouts(decoder, declarations)[0] ?? []
  return pieces.map(piece => ({ ...piece, declaration: declarations.get(piece.parameter) as Declaration }))
}

/** The values of a tensor of the file, a view of `parameters` in the file's shape where strides allow. */
export function ggufValues(parameters: ParameterSource, piece: CheckpointPiece): Tensor {
  return tidy(() => {
    const view = parameters.part(piece)
    // What pairs heads up has a dimension more than the file's tensor.
    return view.ndim > piece.shape.length ? view.reshape(piece.shape) : view
  })
}

/** Values that are visited at once: what is in memory beside the tensor stays small. */
const chunkValues = 1 << 22

/**
 * Visits the rows of a tensor of at most three dimensions, in order, many at a time but of one matrix. Each visit has a
 * scope of its own: what views the tensor would keep its memory.
 *
 * @param visit given f32, f16 or bf16 [n, columns], and the number of their matrix
 */
export function* visitRows<T>(tensor: Tensor, visit: (rows: Tensor, matrix: number) => T): Generator<T> {
  const [columns = 1, rows = 1, matrices = 1] = [...tensor.shape].reverse()
  const rowsAtOnce = Math.max(1, Math.floor(chunkValues / Math.max(1, columns)))
  for (let index = 0; index < matrices; index++) {
    for (let row = 0; row < rows; row += rowsAtOnce) {
      yield tidy(() => {
        const matrix = tensor.ndim === 3 ? tensor.select(0, index) : tensor.reshape([rows, columns])
        return visit(matrix.narrow(0, row, Math.min(rowsAtOnce, rows - row)), index)
      })
    }
  }
}
