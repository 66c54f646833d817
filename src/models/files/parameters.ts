// A model's parameters one at a time, as they would be in memory, for writing them in some layout.

import { invariant } from '../../errors.ts'
import type { Module } from '../../nn/index.ts'
import { type DType, empty, noGrad, type Tensor, tidy } from '../../torch/index.ts'
import type { CheckpointPiece } from '../architectures/architecture.ts'
import { copyPiece } from './copy-piece.ts'
import { type MatchedPiece, matchTensors } from './matching.ts'
import type { ModelSource } from './source.ts'
import { MappedFiles } from './tensor-file.ts'
import { partOf } from './tensor-part.ts'

/** Where parameters that are written come from. */
export interface ParameterSource {
  /** The dtype in which a parameter is stored, f32 where it has to be decoded. */
  dtypeOf(parameter: string): DType
  /** Whether a parameter's values have to be decoded from blocks. */
  isDecoded(parameter: string): boolean
  /** The part of a parameter that a piece of another layout is, a view of the parameter. */
  part(piece: CheckpointPiece): Tensor
}

/** The parameters of a model in memory. */
export function parametersOf(model: Module): ParameterSource {
  const tensors = model.stateDict()
  const [first] = tensors.values()
  return {
    dtypeOf: parameter => tensors.get(parameter)?.dtype ?? first?.dtype ?? 'f32',
    isDecoded: () => false,
    part: piece => partOf(tensors, piece),
  }
}

/** Parameters that are kept: files list one expert's matrices in turn, which are parts of two. */
const kept = 2

/** Reads parameters when their parts are asked for. Holds two of them at most, and the files' mappings. */
export class ParameterReader implements ParameterSource {
  readonly #source: ModelSource
  readonly #pieces = new Map<string, MatchedPiece[]>()
  readonly #files = new MappedFiles()
  readonly #recent = new Map<string, Tensor>()

  /** @throws FormatError when the source's tensors do not fit its config */
  constructor(source: ModelSource) {
    this.#source = source
    for (const piece of matchTensors(source)) {
      const group = this.#pieces.get(piece.parameter) ?? []
      group.push(piece)
      this.#pieces.set(piece.parameter, group)
    }
  }

  dtypeOf(parameter: string): DType {
    const dtypes = new Set(this.#piecesOf(parameter).map(piece => piece.stored.dtype))
    const [only] = dtypes
    return dtypes.size === 1 && only ? only : 'f32'
  }

  isDecoded(parameter: string): boolean {
    return this.#piecesOf(parameter).some(piece => piece.stored.dtype === null)
  }

  part(piece: CheckpointPiece): Tensor {
    const parameter = this.#parameter(piece.parameter)
    return tidy(() => partOf(new Map([[piece.parameter, parameter]]), piece))
  }

  #parameter(path: string): Tensor {
    const known = this.#recent.get(path)
    if (known) return known
    while (this.#recent.size >= kept) this.#forget(this.#recent.keys().next().value as string)
    const tensor = this.#read(path)
    this.#recent.set(path, tensor)
    return tensor
  }

  #read(path: string): Tensor {
    const declaration = this.#source.declarations.get(path)
    invariant(declaration, `there is no parameter ${path}`)
    const tensor = empty(declaration.shape, { dtype: this.dtypeOf(path) }).persist()
    const parameters = new Map([[path, tensor]])
    noGrad(() => {
      for (const piece of this.#piecesOf(path)) tidy(() => copyPiece(parameters, piece, this.#files))
    })
    return tensor
  }

  #piecesOf(path: string): readonly MatchedPiece[] {
    return this.#pieces.get(path) ?? []
  }

  #forget(path: string): void {
    this.#recent.get(path)?.dispose()
    this.#recent.delete(path)
  }

  [Symbol.dispose](): void {
    for (const path of [...this.#recent.keys()]) this.#forget(path)
    this.#files[Symbol.dispose]()
  }
}
