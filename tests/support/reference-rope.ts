// Rotary positions of the plain reference. One thing in it is libtorch's: cosines and sines of angles in f32, which differ
// from the rounded exact ones in their last bit.
import type { RopeScaling } from '../../src/nn/index.ts'
import { type Tensor, tensor } from '../../src/torch/index.ts'

type Vector = number[]
type Matrix = Vector[]

/** Cosines and sines times `scale` of every position's angles, all in f32 as in models of any type: [T][R / 2]. */
export function turnsOf(length: number, frequencies: Vector, scale: number): { cos: Matrix; sin: Matrix } {
  const angles = Array.from({ length }, (_, t) => frequencies.map(f => t * Math.fround(f)))
  const f32 = tensor(angles, { dtype: 'f32' })
  const scaled = (turns: Tensor): Matrix =>
    (turns.double().tolist() as Matrix).map(row => row.map(v => Math.fround(v * Math.fround(scale))))
  return { cos: scaled(f32.cos()), sin: scaled(f32.sin()) }
}

/** Every rotary rule as modeling_rope_utils.py has them. */
export function frequenciesOf(
  scaling: RopeScaling,
  theta: number,
  rotated: number,
  length: number,
): { frequencies: Vector; scale: number } {
  const plain = Array.from({ length: rotated / 2 }, (_, i) => theta ** (-(2 * i) / rotated))
  if (scaling.rope_type === 'default') return { frequencies: plain, scale: 1 }
  if (scaling.rope_type === 'linear') return { frequencies: plain.map(f => f / scaling.factor), scale: 1 }
  if (scaling.rope_type === 'dynamic') {
    const longer = Math.max(length / scaling.original_max_position_embeddings, 1)
    const base = theta * (scaling.factor * longer - (scaling.factor - 1)) ** (rotated / (rotated - 2))
    return { frequencies: plain.map((_, i) => base ** (-(2 * i) / rotated)), scale: 1 }
  }
  if (scaling.rope_type === 'llama3') {
    const { low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: of } = scaling
    const kept = plain
      .map(f => ((of * f) / (2 * Math.PI) - low) / (high - low))
      .map(v => Math.min(Math.max(v, 0), 1))
    return {
      frequencies: plain.map((f, i) => f * kept[i]! + (f / scaling.factor) * (1 - kept[i]!)),
      scale: 1,
    }
  }
  if (scaling.rope_type === 'longrope') {
    const isLong = length > scaling.original_max_position_embeddings
    const factors = isLong ? scaling.long_factor : scaling.short_factor
    const scale = isLong ? scaling.long_mscale : scaling.short_mscale
    const stretch = Math.sqrt(
      1 + Math.log(scaling.factor) / Math.log(scaling.original_max_position_embeddings),
    )
    return {
      frequencies: plain.map((f, i) => f / factors[i]!),
      scale: scale ?? scaling.attention_factor ?? (scaling.factor > 1 ? stretch : 1),
    }
  }
  const { factor, original_max_position_embeddings: original, beta_fast, beta_slow, truncate } = scaling
  const place = (turns: number): number =>
    (rotated * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  let [low, high] = [place(beta_fast), place(beta_slow)]
  if (truncate) [low, high] = [Math.floor(low), Math.ceil(high)]
  ;[low, high] = [Math.max(low, 0), Math.min(high, rotated - 1)]
  const span = high === low ? 0.001 : high - low
  const frequencies = plain.map((f, i) => {
    const ramp = Math.min(Math.max((i - low) / span, 0), 1)
    return (f / factor) * ramp + f * (1 - ramp)
  })
  const magnitude = (mscale: number): number => 0.1 * mscale * Math.log(factor) + 1
  const { attention_factor, mscale, mscale_all_dim } = scaling
  const own = mscale && mscale_all_dim ? magnitude(mscale) / magnitude(mscale_all_dim) : magnitude(1)
  return { frequencies, scale: attention_factor ?? own }
}
