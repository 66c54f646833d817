// Attention of new tokens among themselves, within each sequence: nothing came before, nothing is kept. What training does.
// Shapes: N tokens of B sequences, T tokens of each, H heads, D width of a query, R rotated dimensions.

import { cat, kernelFor, type Tensor } from '../../torch/index.ts'
import { type Rotation, rotate } from '../rope.ts'
import { attend } from './attend.ts'
import {
  type AttendOptions,
  headsOf,
  type KvStore,
  type Rows,
  rowsOf,
  rowsOfHeads,
  withTokens,
} from './kv-store.ts'
import { causalMask } from './mask.ts'

export const withinTokens: KvStore = {
  attend(queries, keys, values, options) {
    const heads = options.latent?.expand(keys)
    const [k, v] = heads ? [heads.keys, heads.values] : [keys, values as Tensor]
    return fused(queries, k, v, options) ?? reference(queries, k, v, options)
  },
}

/** The kernel, for plain causal attention of sequences of one length and the same positions: [N, H*D]. */
function fused(queries: Tensor, keys: Tensor, values: Tensor, options: AttendOptions): Tensor | null {
  const { starts, headDim, scale, rotation, isCausal, window, sinks, bias } = options
  const [rows, ragged] = rowsOf(starts)
  if (!rows || ragged || !isCausal || sinks || bias || !rotation) return null
  const isShared = rotation.cos.size(0) === rows.length && rotation.cos.size(1) === headDim
  const kernel = isShared ? kernelFor('causalAttention', queries, keys, values) : null
  if (!kernel) return null
  const relative = scale * headDim ** 0.5 // the kernel scales by 1 / sqrt(D)
  const scaled = relative === 1 ? queries : queries.mul(relative)
  const [q, k, v] = [scaled, keys, values].map(x => x.view([rows.sequences, rows.length, -1])) as [
    Tensor,
    Tensor,
    Tensor,
  ]
  return kernel(q, k, v, rotation.cos, rotation.sin, headDim, window).flatten(0, 1)
}

function reference(queries: Tensor, keys: Tensor, values: Tensor, options: AttendOptions): Tensor {
  const { starts, headDim, scale, rotation, isCausal, window, sinks, bias, dropout } = options
  const width = values.size(-1) / (keys.size(-1) / headDim) // E
  const mixed = withTokens(rowsOf(starts)).map(rows => {
    const { length } = rows
    const turn = (x: Tensor): Tensor => {
      const heads = headsOf(x, rows, headDim) // [B, heads, T, D]
      return rotation ? rotate(heads, rotationOf(rotation, rows)) : heads
    }
    const blocked = isCausal ? causalMask(length, { window, device: queries.device }) : null
    const options = { scale, blocked, sinks, dropout, bias: bias?.(0, length) ?? null }
    return rowsOfHeads(attend(turn(queries), turn(keys), headsOf(values, rows, width), options))
  })
  return mixed.length === 1 ? (mixed[0] as Tensor) : cat(mixed)
}

/** The angles of some rows: [T, R] shared by sequences, or [B, T, R]. */
function rotationOf({ cos, sin }: Rotation, { sequences, start, length }: Rows): Rotation {
  if (cos.size(0) === length) return { cos, sin }
  const of = (table: Tensor): Tensor =>
    table.narrow(0, start, sequences * length).view([sequences, length, -1])
  return { cos: of(cos), sin: of(sin) }
}

/** Every row of [N, heads * D] turned by its angles. */
export function rotateRows(x: Tensor, rotation: Rotation | null, headDim: number): Tensor {
  if (!rotation) return x
  const length = rotation.cos.size(0)
  const kernel = kernelFor('rotate', x)
  if (kernel)
    return kernel(x.view([-1, length, x.size(1) / headDim, headDim]), rotation.cos, rotation.sin).view(
      x.shape,
    )
  const all: Rows = { sequence: 0, sequences: x.size(0) / length, start: 0, length }
  return rowsOfHeads(rotate(headsOf(x, all, headDim), rotation))
}
