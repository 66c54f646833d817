// What of training a plan depends on, beside model, mesh and cluster.

export interface PlanSettings {
  /** Tokens of a sequence. */
  sequenceLength: number
  /** Sequences of a step, over all ranks. */
  batch: number
  /** Sequences that a rank computes at once. Default: 1. */
  microBatch: number
  /** Weights, gradients and activations. bf16 keeps weights in f32 beside AdamW's moments. Default: bf16. */
  dtype: 'f32' | 'bf16'
  /** What is divided along `shard`: 1 optimizer states, 3 gradients and parameters too. Default: 1. */
  zero: 1 | 3
  /** Whether layers are computed again in backward. Default: none. */
  recompute: 'none' | 'layers'
  /** Tokens that the busiest rank's experts get over the mean. Default: 1. */
  imbalance: number
  /** Share of the time of exchanges that passes while products are computed. Default: 0. */
  overlap: number
}

export const defaultSettings: PlanSettings = {
  sequenceLength: 4096,
  batch: 256,
  microBatch: 1,
  dtype: 'bf16',
  zero: 1,
  recompute: 'none',
  imbalance: 1,
  overlap: 0,
}
