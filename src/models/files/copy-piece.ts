// A tensor of a file into the part of a parameter that it is.

import { type Tensor, tidy } from '../../torch/index.ts'
import type { MatchedPiece } from './matching.ts'
import type { MappedFiles } from './tensor-file.ts'
import { partOf } from './tensor-part.ts'

/** What has to be decoded is decoded a slice of a stack at a time: the whole may not fit beside the parameter. */
export function copyPiece(
  tensors: ReadonlyMap<string, Tensor>,
  piece: MatchedPiece,
  files: MappedFiles,
): void {
  const { stored } = piece
  const part = partOf(tensors, piece)
  if (stored.dtype !== null || stored.shape.length < 3) {
    part.copy_(stored.read(files).view(part.shape))
    return
  }
  for (let index = 0; index < part.size(0); index++)
    tidy(() => {
      const slice = part.select(0, index)
      slice.copy_(stored.readSlice(files, index).view(slice.shape))
    })
}
