// The importance of a tensor's columns, by its name in the file.

import { ConfigError } from '../../errors.ts'
import type { GgufModelTensor } from '../../models/index.ts'
import { matricesIn } from './calibrate.ts'
import { Importance } from './error.ts'
import { columnsOf, type InputSquares } from './squares.ts'

export type ImportanceOf = (tensor: string) => Importance

const unknown = new Importance(null)

/**
 * What is known of the tensors of a model.
 *
 * @throws ConfigError where sums are those of another model
 */
export function importanceOfTensors(
  tensors: readonly GgufModelTensor[],
  squares: ReadonlyMap<string, InputSquares>,
): ImportanceOf {
  const known = new Map<string, Importance>()
  for (const tensor of tensors) {
    const found = squares.get(tensor.name)
    if (!found) continue
    refuseOthers(tensor, found)
    known.set(tensor.name, new Importance(found))
  }
  if (known.size === 0)
    throw new ConfigError('names no tensor of this model: it is of another one', { path: 'imatrix' })
  return name => known.get(name) ?? unknown
}

function refuseOthers(tensor: GgufModelTensor, squares: InputSquares): void {
  const [matrices, columns] = [matricesIn(tensor), tensor.shape.at(-1)]
  if (squares.counts.length === matrices && columnsOf(squares) === columns) return
  throw new ConfigError(
    `has ${squares.counts.length} x ${columnsOf(squares)} sums for ${tensor.name}, which has ${matrices} x ${columns}: it is of another model`,
    { path: 'imatrix' },
  )
}
