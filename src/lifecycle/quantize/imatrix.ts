// llama.cpp's importance matrices, a GGUF file of their own (llama.cpp, tools/imatrix/imatrix.cpp): for each tensor NAME of a
// model, `NAME.in_sum2` f32 [M, K], the sums of squared inputs, and `NAME.counts` f32 [M, 1], how many there were.

import { closeSync, openSync, readSync } from 'node:fs'
import { FormatError } from '../../errors.ts'
import {
  type GgufHeader,
  type GgufMetadata,
  type GgufTensor,
  type GgufTensorSource,
  readGgufHeader,
  writeGguf,
} from '../../formats/index.ts'
import type { InputSquares } from './squares.ts'

/** Squared inputs by the names of tensors in GGUF files, and what text they are of. */
export interface ImportanceMatrix {
  tensors: ReadonlyMap<string, InputSquares>
  /** Names of the texts. */
  datasets: readonly string[]
  /** Pieces of text that a model has read, and the tokens of each. */
  chunks: number
  chunkSize: number
}

const [sumsEnding, countsEnding] = ['.in_sum2', '.counts']

/** Writes the file; sums become f32, as llama.cpp has them. */
export function writeImportanceMatrix(file: string, matrix: ImportanceMatrix): void {
  const metadata: GgufMetadata = new Map([
    ['general.type', { type: 'string', value: 'imatrix' }],
    ['imatrix.datasets', { type: 'array', of: 'string', value: [...matrix.datasets] }],
    ['imatrix.chunk_count', { type: 'u32', value: matrix.chunks }],
    ['imatrix.chunk_size', { type: 'u32', value: matrix.chunkSize }],
  ])
  const named = [...matrix.tensors].sort(([a], [b]) => (a < b ? -1 : 1))
  writeGguf(
    file,
    metadata,
    named.flatMap(([name, { sums, counts }]) => [
      f32Source(`${name}${sumsEnding}`, [counts.length, sums.length / counts.length], sums),
      f32Source(`${name}${countsEnding}`, [counts.length, 1], counts),
    ]),
  )
}

function f32Source(name: string, shape: number[], values: ArrayLike<number>): GgufTensorSource {
  return { name, type: 'F32', shape, chunks: () => [new Uint8Array(Float32Array.from(values).buffer)] }
}

/**
 * Reads what llama-imatrix or writeImportanceMatrix() has written.
 *
 * @throws FormatError for another kind of file, sums without counts, or numbers that are no sums of squares
 */
export function readImportanceMatrix(file: string): ImportanceMatrix {
  const header = readGgufHeader(file)
  if (header.metadata.get('general.type')?.value !== 'imatrix')
    throw new FormatError("general.type is not 'imatrix': this is no importance matrix", { file })
  const descriptor = openSync(file, 'r')
  try {
    const names = [...header.tensors.keys()].filter(name => name.endsWith(sumsEnding))
    const tensors = names.map(name => {
      const stem = name.slice(0, -sumsEnding.length)
      return [stem, readSquares(descriptor, stem, header, file)] as const
    })
    return { tensors: new Map(tensors), ...describe(header.metadata) }
  } finally {
    closeSync(descriptor)
  }
}

function describe(metadata: GgufMetadata): Omit<ImportanceMatrix, 'tensors'> {
  const number = (key: string): number => {
    const value = metadata.get(key)?.value
    return typeof value === 'number' ? value : 0
  }
  const datasets = metadata.get('imatrix.datasets')?.value
  return {
    datasets: Array.isArray(datasets) ? datasets.map(String) : [],
    chunks: number('imatrix.chunk_count'),
    chunkSize: number('imatrix.chunk_size'),
  }
}

function readSquares(descriptor: number, name: string, { tensors }: GgufHeader, file: string): InputSquares {
  const fail = (problem: string): never => {
    throw new FormatError(`'${name}' ${problem}: the file is damaged`, { file })
  }
  const sums = tensors.get(`${name}${sumsEnding}`) as GgufTensor
  const counts = tensors.get(`${name}${countsEnding}`) ?? fail(`has no ${countsEnding}`)
  if (sums.type !== 'F32' || counts.type !== 'F32') fail('is not F32')
  const matrices = counts.shape.reduce((product, size) => product * size, 1)
  if (matrices < 1 || sums.length === 0 || (sums.length / 4) % matrices !== 0)
    fail(`has sums [${sums.shape}] and counts [${counts.shape}], which do not go together`)
  const [sumValues, countValues] = [readF32(descriptor, sums), readF32(descriptor, counts)]
  if (![...[sumValues, countValues]].every(values => values.every(isCount)))
    fail('has numbers that are negative or not finite')
  return { sums: Float64Array.from(sumValues), counts: [...countValues] }
}

const isCount = (value: number): boolean => Number.isFinite(value) && value >= 0

/** The header has bounded the tensor by the file. */
function readF32(descriptor: number, { offset, length }: GgufTensor): Float32Array {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const read = readSync(descriptor, bytes, done, Math.min(length - done, 1 << 30), offset + done)
    if (read === 0) break
    done += read
  }
  return new Float32Array(bytes.buffer)
}
