// Pairing the tensors of a source with a model's parameters.

import { FormatError } from '../../errors.ts'
import { tidy } from '../../torch/index.ts'
import type { CheckpointPiece } from '../architectures/architecture.ts'
import type { ModelSource } from './source.ts'
import type { StoredTensor } from './stored-tensor.ts'
import { MappedFiles } from './tensor-file.ts'

/** A part of a parameter and the tensor that fills it. */
export type MatchedPiece = CheckpointPiece & { stored: StoredTensor }

/**
 * Pairs a source's tensors with the parameters of its model. Each parameter is taken in the first layout of which the
 * source has anything.
 *
 * @throws FormatError listing every missing, surplus, misshapen and unreadable tensor
 */
export function matchTensors(source: ModelSource): MatchedPiece[] {
  const layouts = source.layouts.map(byParameter)
  const pieces = [...source.declarations.keys()].flatMap(parameter => {
    const ways = layouts.map(layout => layout.get(parameter) ?? [])
    return ways.find(way => way.some(piece => source.tensors.has(piece.name))) ?? ways[0] ?? []
  })
  refuseMismatch(pieces, source)
  return pieces.flatMap(piece => {
    const stored = source.tensors.get(piece.name)
    return stored ? [{ ...piece, stored }] : []
  })
}

/** Pieces by the parameter that they fill. */
export function byParameter<P extends CheckpointPiece>(pieces: readonly P[]): Map<string, P[]> {
  const groups = new Map<string, P[]>()
  for (const piece of pieces) {
    const group = groups.get(piece.parameter) ?? []
    group.push(piece)
    groups.set(piece.parameter, group)
  }
  return groups
}

const mostNamed = 12

function refuseMismatch(pieces: readonly CheckpointPiece[], source: ModelSource): void {
  const problems = pieces.flatMap(({ name, shape }) => {
    const found = source.tensors.get(name)
    if (!found) return [`missing ${name}`]
    if (found.shape.join() !== shape.join())
      return [`${name} is [${found.shape.join(', ')}], ${source.described} says [${shape.join(', ')}]`]
    return found.isReadable ? [] : [`${name} is ${found.encoding}, which cannot be loaded`]
  })
  const wanted = new Set(pieces.map(piece => piece.name))
  for (const name of source.tensors.keys())
    if (!wanted.has(name) && !source.isNeedless(name)) problems.push(`surplus ${name}`)
  if (problems.length === 0) return
  const more = problems.length > mostNamed ? `; and ${problems.length - mostNamed} more` : ''
  throw new FormatError(
    `tensors do not fit ${source.described}: ${problems.slice(0, mostNamed).join('; ')}${more}`,
    { file: source.path },
  )
}

/** Throws FormatError naming the tensors that hold NaN or infinity. */
export function refuseNonFinite(pieces: readonly MatchedPiece[]): void {
  using files = new MappedFiles()
  const stored = new Map(pieces.map(piece => [piece.stored.name, piece.stored]))
  const bad = [...stored.values()].filter(tensor => !allFinite(tensor, files)).map(tensor => tensor.name)
  if (bad.length === 0) return
  const more = bad.length > 8 ? ` and ${bad.length - 8} more` : ''
  const file = pieces[0]?.stored.file ?? ''
  throw new FormatError(`NaN or infinite values in ${bad.slice(0, 8).join(', ')}${more}`, { file })
}

function allFinite(stored: StoredTensor, files: MappedFiles): boolean {
  const slices = stored.dtype === null && stored.shape.length > 2 ? (stored.shape[0] ?? 0) : null
  if (slices === null) return tidy(() => stored.read(files).isfinite().all().item() === 1)
  return Array.from({ length: slices }, (_, index) => index).every(index =>
    tidy(() => stored.readSlice(files, index).isfinite().all().item() === 1),
  )
}
