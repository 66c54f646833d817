// A model reads texts, and how large the inputs of its matrices are is collected.

import { ConfigError } from '../../errors.ts'
import { type CausalLM, type GgufModelTensor, tokensOfSequences } from '../../models/index.ts'
import { inferenceMode, tidy } from '../../torch/index.ts'
import { observeInputs } from './observe.ts'
import { columnsOf, type InputSquares, SquaresTally } from './squares.ts'

/** Texts that a model reads together, as token ids. */
export type TextBatch = readonly (readonly number[])[]

/**
 * Squared inputs of every linear layer and stacked expert over texts, by the path of the parameter, between turns of the
 * event loop. In memory are one batch and the sums. What capacity would drop is counted as served.
 *
 * @param model observes from then on, slower than before: load another to use
 * @param onBatch called after each batch with the batches that are done
 * @throws ConfigError where there is no text
 */
export async function calibrate(
  model: CausalLM,
  batches: Iterable<TextBatch>,
  onBatch?: (done: number) => void,
): Promise<ReadonlyMap<string, InputSquares>> {
  const tally = new SquaresTally()
  observeInputs(model, tally)
  let done = 0
  for (const rows of batches) {
    readTexts(model, rows)
    done += 1
    onBatch?.(done)
    await new Promise(setImmediate)
  }
  if (done === 0) throw new ConfigError('no text to calibrate on: name another', { path: 'text' })
  return tally.byParameter
}

/** Texts go through all of a model: through its head, too, whose inputs are what it scores. */
export function readTexts(model: CausalLM, rows: TextBatch): void {
  inferenceMode(() => tidy(() => void model.forward(tokensOfSequences(rows, { device: model.device }))))
}

/**
 * What was collected of parameters, by the tensors of a GGUF file. A tensor whose rows are not the parameter's inputs, as
 * DeepSeek's transposed maps of keys, has none.
 */
export function squaresByTensor(
  tensors: readonly GgufModelTensor[],
  byParameter: ReadonlyMap<string, InputSquares>,
): Map<string, InputSquares> {
  return new Map(
    tensors.flatMap(tensor => {
      const squares = byParameter.get(tensor.parameter)
      const isTurned = tensor.headRows !== undefined && tensor.transposed === true
      if (!squares || isTurned || columnsOf(squares) !== tensor.shape.at(-1)) return []
      return [[tensor.name, ofMatrices(squares, matricesIn(tensor))] as const]
    }),
  )
}

/** Matrices of a file's tensor: a stacked one has many. */
export const matricesIn = ({ shape }: Pick<GgufModelTensor, 'shape'>): number =>
  shape.length === 3 ? (shape[0] ?? 1) : 1

/** Heads apart in the file read the same inputs. */
function ofMatrices(squares: InputSquares, matrices: number): InputSquares {
  if (squares.counts.length === matrices) return squares
  const columns = columnsOf(squares)
  const sums = new Float64Array(matrices * columns)
  for (let matrix = 0; matrix < matrices; matrix++)
    sums.set(squares.sums.subarray(0, columns), matrix * columns)
  return { sums, counts: new Array<number>(matrices).fill(squares.counts[0] ?? 0) }
}
