// Which part of a parameter a rank holds: stacks of experts are divided along `expert`, expert widths and attention heads along
// `tensor`, layers along `pipeline`. All else is there on every rank.
// Shapes: E experts, F expert width, D model, H heads, W width of a head.

import { invariant } from '../errors.ts'
import type { Declaration } from '../nn/index.ts'
import type { MeshAxis, MeshSizes } from './mesh.ts'

/** One dimension of a parameter, of which each rank along an axis has an equal part, in order of ranks. */
export interface Division {
  axis: MeshAxis
  dimension: number
  /**
   * Blocks that the dimension holds one after the other, each of which is divided by itself: gate and up of `gate_up_proj` are
   * two. Default: one.
   */
  blocks?: number
}

/**
 * How a parameter is divided; nothing where every rank has all of it. Optimizer states and parameters that are divided along `shard`
 * are so as numbers one after the other, whatever their shape.
 *
 * - stacked experts `[E, ...]`: dimension 0 along `expert`; of `gate_up_proj [E, 2F, D]` both halves, of `up_proj [E, F, D]` the rows and
 *   of `down_proj [E, D, F]` the columns along `tensor`, with the biases of rows
 * - projections from hidden states to heads `[H W, ...]`, and sinks `[H]`: dimension 0 along `tensor`; `o_proj [D, H W]`: dimension 1
 *
 * As Megatron-LM divides them (arXiv:1909.08053, section 3).
 *
 * @param path as in `declarationsOf`
 */
export function shardingOf(path: string, declaration: Declaration, sizes: MeshSizes): Division[] {
  const divisions = declaration.stacked ? stackDivisions(path) : headDivisions(path, declaration)
  return divisions.filter(({ axis }) => sizes[axis] > 1)
}

function stackDivisions(path: string): Division[] {
  const byExpert: Division = { axis: 'expert', dimension: 0 }
  switch (lastName(path)) {
    case 'gate_up_proj':
    case 'gate_up_proj_bias':
      return [byExpert, { axis: 'tensor', dimension: 1, blocks: 2 }]
    case 'up_proj':
    case 'up_proj_bias':
      return [byExpert, { axis: 'tensor', dimension: 1 }]
    case 'down_proj':
      return [byExpert, { axis: 'tensor', dimension: 2 }]
    default:
      return [byExpert]
  }
}

/** What maps hidden states, or latent ones, to heads. */
const toHeads = new Set(['q_proj', 'k_proj', 'v_proj', 'q_b_proj', 'kv_b_proj'])

function headDivisions(path: string, { role, shape }: Declaration): Division[] {
  if (role !== 'attention') return []
  const byHead: Division[] = [{ axis: 'tensor', dimension: 0 }]
  if (lastName(path) === 'sinks') return byHead
  const module = path.split('.').at(-2) ?? ''
  if (toHeads.has(module)) return byHead
  return module === 'o_proj' && shape.length === 2 ? [{ axis: 'tensor', dimension: 1 }] : [] // its bias is added once
}

const lastName = (path: string): string => path.split('.').at(-1) ?? ''

/** The shape of what one rank holds. */
export function shardShape(
  { shape }: Pick<Declaration, 'shape'>,
  divisions: readonly Division[],
  sizes: MeshSizes,
): number[] {
  const local = [...shape]
  for (const { axis, dimension, blocks = 1 } of divisions) {
    invariant(local[dimension]! % (blocks * sizes[axis]) === 0, 'the mesh divides what it is to divide')
    local[dimension]! /= sizes[axis]
  }
  return local
}

/**
 * The layers of each stage of a pipeline, one after the other. Where they cannot be equally many the first stages have one more.
 *
 * @returns for each stage the first layer, and the one behind its last
 */
export function stageLayers(layers: number, stages: number): [first: number, end: number][] {
  const [least, more] = [Math.floor(layers / stages), layers % stages]
  const firstOf = (stage: number): number => stage * least + Math.min(stage, more)
  return Array.from({ length: stages }, (_, stage) => [firstOf(stage), firstOf(stage + 1)])
}
