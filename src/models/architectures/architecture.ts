// An architecture as data: how its config is read and written, what its model is made of, and what files call its tensors.

import type { Declaration } from '../../nn/index.ts'
import type { DropoutRates } from '../stack/dropout.ts'
import type { Build } from '../stack/parts.ts'
import type { GgufRow } from './gguf/row.ts'

/** What is known of a model's tensors by their in-memory path, in order. */
export type Declarations = ReadonlyMap<string, Declaration>

/** Which part of a tensor in memory a tensor of a file is. What is named is taken in this order. */
export interface TensorPart {
  /** The slice of the first dimension. */
  index?: number
  /** Rows of each matrix. */
  rows?: [start: number, length: number]
  /** Columns of each matrix, or numbers of each vector of a stack. */
  columns?: [start: number, length: number]
  /** Rows of each of so many heads: [heads * R, C] seen as [heads, rows, C]. */
  headRows?: { heads: number; rows: [start: number, length: number] }
  /** Whether the file has each matrix transposed. */
  transposed?: true
  /** Heads whose rows the file pairs up side by side for rotation, where memory has them in halves. */
  pairedHeads?: number
  /** The dimension whose halves the file has by turns: the first of one, the first of the other, and so on. */
  alternating?: 'rows' | 'columns'
}

/** A tensor of a published file, and which part of a tensor in memory it is. */
export interface CheckpointPiece extends TensorPart {
  /** Name in the file. */
  name: string
  shape: readonly number[]
  /** Path in memory. */
  parameter: string
}

/** A model type, as `model_type` in config.json names it. `P` are the parts of its kind of model. */
export interface Architecture<C, P> {
  parseConfig(json: unknown, source: string): C
  /** Contents of the config.json of a model whose weights are stored in `dtype`, as HF names it. */
  toJson(config: C, dtype: string): Record<string, unknown>
  parts(config: C, build: Build): P
  /** How published files store each tensor. Default: whole, under its path in memory. */
  pieces?(declarations: Declarations): CheckpointPiece[]
  /** Other tensors of which published files make the same parameters, by quantizing. Default: none. */
  quantizedPieces?(declarations: Declarations): CheckpointPiece[]
  /** Whether a file may hold a tensor that no parameter takes, as weights of a part that is not computed here. */
  isIgnored?(config: C, name: string): boolean
  /** What chooses experts, in a word. Default: by their number, as `top-2`. */
  chooser?(config: C): string
  /** The losses of its routers, by the names of recipes. Default: HF's balance loss alone, with the config's router_aux_loss_coef. */
  routerLosses?(config: C): Partial<Record<'balance' | 'z', unknown>>
  /** What training drops, as its config says. Default: nothing. */
  dropout?(config: C): DropoutRates
  /** How GGUF files describe and store it. Default: they cannot. */
  gguf?: GgufRow<C>
}
