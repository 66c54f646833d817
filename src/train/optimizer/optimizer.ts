// What a training step asks of an optimizer.

import type { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import type { Declaration, Parameter } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import type { groupsSchema } from './groups.ts'

/** Parameters that share a learning rate and weight decay. */
export interface ParameterGroup {
  name: string
  parameters: Map<string, Parameter>
  /** Factor of the learning rate. */
  scale: number
  weightDecay: number
}

/** What becomes of gradients before they are used. */
export interface GradientScaling {
  /** Their Euclidean norm as they are, a scalar; when it is not finite nothing moves. Default: not looked at. */
  norm?: Tensor | null
  /** Largest norm; needs `norm`. Null: any. */
  clip?: number | null
  /** What the loss was multiplied by. Default 1. */
  lossScale?: number
}

export interface Optimizer {
  readonly groups: readonly ParameterGroup[]
  /** Steps taken. A checkpoint restores it. */
  step: number
  /** Moves every parameter that has a gradient. */
  update(learningRate?: number, scaling?: GradientScaling): void
  /** What a checkpoint keeps, by name; the tensors themselves, to be filled on resuming. */
  state(): Map<string, Tensor>
  dispose(): void
  [Symbol.dispose](): void
}

/** One whose steps can be part of a CUDA graph: nothing waits for the device. */
export interface RecordableOptimizer extends Optimizer {
  /** Takes the memory that steps need, which is otherwise taken in the first. */
  reserve(): void
  /**
   * The first half of update() on a device: writes there what changes from one step to the next, so that move() can be
   * captured in a CUDA graph.
   */
  prepare(learningRate?: number, lossScale?: number): void
  /** The second half: moves parameters by what prepare() wrote. */
  move(scaling?: GradientScaling): void
}

/** @throws ConfigError for an optimizer that waits for the device */
export function requireRecordable(optimizer: Optimizer, kind: string): RecordableOptimizer {
  if ('prepare' in optimizer && 'move' in optimizer && 'reserve' in optimizer)
    return optimizer as RecordableOptimizer
  throw new ConfigError(`${kind} waits for the device, which a graph cannot: set it to false, or use adamw`, {
    path: 'graph',
  })
}

/** How numbers are kept of parameters in half precision. */
export interface HalfPrecision {
  /**
   * Type of the moments of parameters in half precision; bf16 halves their memory. Default: f32. Parameters in f32 and f64
   * have moments of their own type.
   */
  moments?: 'f32' | 'bf16'
  /**
   * Whether parameters in half precision have an f32 copy, which is what moves: the parameter is its rounding
   * (arXiv:1710.03740). Without, bf16 parameters are rounded by chance, so that small updates add up on average. Default true.
   */
  master?: boolean
}

/** What settings of every optimizer have. */
export interface OptimizerSettings {
  learningRate: number
  weightDecay: number
  groups: z.infer<typeof groupsSchema>
}

/** A kind of optimizer as recipes have it. */
export interface OptimizerRow<S extends z.ZodType<OptimizerSettings>> {
  schema: S
  /**
   * Bytes that are kept of a parameter between steps.
   *
   * @param half how, where it is in half precision; null where it is in f32
   */
  stateBytes(declaration: Declaration, settings: z.infer<S>, half: HalfPrecision | null): number
  /** Bytes that moving it takes for a moment. Default: none. */
  workBytes?(declaration: Declaration, settings: z.infer<S>): number
  make(groups: readonly ParameterGroup[], settings: z.infer<S>, half: HalfPrecision): Optimizer
}
