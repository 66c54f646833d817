// Matrices that are rounded to blocks while a model is loaded, whatever its file has.

import { ConfigError, FormatError } from '../../errors.ts'
import type { GgmlTypeName } from '../../formats/index.ts'
import { type Buffer, Parameter } from '../../nn/index.ts'
import { empty, inPanels, type Tensor, tidy } from '../../torch/index.ts'
import { type TypeRules, typeFor } from './conversion/type-rules.ts'
import { copyPiece } from './copy-piece.ts'
import { quantize } from './dequantize.ts'
import { incomplete } from './encoded.ts'
import { byParameter, type MatchedPiece } from './matching.ts'
import type { MappedFiles } from './tensor-file.ts'

/**
 * Gives every parameter that can be encoded rows of the type that `rules` say, as convert would write them; what they want in
 * f32 is left to be decoded. Beside the model one parameter at a time is in memory in f32.
 *
 * @returns the paths of those parameters; experts of one layer are all among them, or none
 * @throws FormatError for values that are not finite, which blocks cannot hold
 */
export function requantize(
  tensors: ReadonlyMap<string, Parameter | Buffer>,
  pieces: readonly MatchedPiece[],
  files: MappedFiles,
  rules: TypeRules,
): Set<string> {
  if (rules.router !== 'F32')
    throw new ConfigError(`routers stay in f32: leave router=${rules.router.toLowerCase()} out`, {
      path: 'weights',
    })
  const types = new Map(
    [...tensors].flatMap(([path, tensor]) => {
      if (!(tensor instanceof Parameter) || tensor.declaration.encodable !== true) return []
      const type = typeFor(tensor.declaration, tensor.shape, rules)
      return type === 'F32' ? [] : [[path, type] as const]
    }),
  )
  for (const path of incomplete(types, tensors)) types.delete(path)
  const groups = byParameter(pieces)
  for (const [path, type] of types) {
    const parameter = tensors.get(path) as Parameter
    tidy(() => {
      const values = empty(parameter.shape)
      for (const piece of groups.get(path) ?? []) copyPiece(new Map([[path, values]]), piece, files)
      const rows = roundedRows(values, type, path)
      parameter.makeEncoded(inPanels({ rows, encoding: type }))
    })
  }
  return new Set(types.keys())
}

/**
 * f32 [..., rows, columns] -> u8 [..., rows, bytes of a row]
 *
 * @param path what the values are of
 * @throws FormatError for values that are not finite, which blocks cannot hold
 */
export function roundedRows(values: Tensor, type: GgmlTypeName, path: string): Tensor {
  const outer = values.shape.slice(0, -1)
  if (type === 'F16' || type === 'BF16')
    return values
      .to(type === 'F16' ? 'f16' : 'bf16')
      .viewDtype('u8')
      .view([...outer, -1])
  if (values.isfinite().all().item() !== 1)
    throw new FormatError(`has NaN or infinite values, which ${type} cannot hold`, { file: path })
  return quantize(values.view([-1]), type).view([...outer, -1])
}
