// Rotary frequencies for texts longer than those of training, as transformers' modeling_rope_utils.py names the rules.
// Pure numbers. Shapes: R rotated dimensions, of which pairs share a frequency.

/** How frequencies change with length; fields have HF's names. */
export type RopeScaling =
  | { rope_type: 'default' }
  /** Positions divided by `factor` (arXiv:2306.15595). */
  | { rope_type: 'linear'; factor: number }
  /** A base that grows with the text beyond `original_max_position_embeddings` ("dynamic NTK"). */
  | { rope_type: 'dynamic'; factor: number; original_max_position_embeddings: number }
  /** Slow frequencies divided by `factor`, fast ones kept, a ramp between (arXiv:2309.00071). */
  | {
      rope_type: 'yarn'
      factor: number
      original_max_position_embeddings: number
      beta_fast: number
      beta_slow: number
      /** Whether the ramp's ends are whole dimensions. */
      truncate: boolean
      attention_factor: number | null
      mscale: number | null
      mscale_all_dim: number | null
    }
  /** A divisor for each frequency, one list for short and one for long texts (arXiv:2402.13753). */
  | {
      rope_type: 'longrope'
      short_factor: number[]
      long_factor: number[]
      original_max_position_embeddings: number
      factor: number
      attention_factor: number | null
      /** Phi-MoE names the factor of cosines and sines of short and of long texts. */
      short_mscale: number | null
      long_mscale: number | null
    }
  /** Frequencies of long waves divided by `factor`, of short ones kept, smoothly between (Llama 3.1). */
  | {
      rope_type: 'llama3'
      factor: number
      low_freq_factor: number
      high_freq_factor: number
      original_max_position_embeddings: number
    }

export interface RotarySpec {
  /** R, even. */
  dim: number
  theta: number
  scaling: RopeScaling
}

export interface RotaryFrequencies {
  /** Radians per position, [R / 2]. */
  frequencies: number[]
  /** Multiplies cosines and sines. */
  scale: number
}

/**
 * Frequencies for a text of `length` positions. Only `dynamic` and `longrope` depend on it; keys that were cached when
 * the text was shorter keep the angles they had, as in transformers.
 */
export function rotaryFrequencies({ dim, theta, scaling }: RotarySpec, length: number): RotaryFrequencies {
  const plain = plainFrequencies(dim, theta)
  switch (scaling.rope_type) {
    case 'default':
      return { frequencies: plain, scale: 1 }
    case 'linear':
      return { frequencies: plain.map(frequency => frequency / scaling.factor), scale: 1 }
    case 'dynamic':
      return { frequencies: plainFrequencies(dim, grownTheta(dim, theta, scaling, length)), scale: 1 }
    case 'yarn':
      return { frequencies: yarnFrequencies(plain, dim, theta, scaling), scale: yarnScale(scaling) }
    case 'longrope': {
      const isLong = length > scaling.original_max_position_embeddings
      const divisors = isLong ? scaling.long_factor : scaling.short_factor
      return {
        frequencies: plain.map((frequency, i) => frequency / (divisors[i] ?? 1)),
        scale: longropeScale(scaling, isLong),
      }
    }
    case 'llama3':
      return { frequencies: plain.map(frequency => llama3Frequency(frequency, scaling)), scale: 1 }
  }
}

/** `theta^(-2i / R)` for i in 0 .. R/2 - 1. */
export function plainFrequencies(dim: number, theta: number): number[] {
  return Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim))
}

type Scaling<K extends RopeScaling['rope_type']> = Extract<RopeScaling, { rope_type: K }>

function grownTheta(dim: number, theta: number, scaling: Scaling<'dynamic'>, length: number): number {
  const { factor, original_max_position_embeddings: original } = scaling
  const growth = (factor * Math.max(length, original)) / original - (factor - 1)
  return theta * growth ** (dim / (dim - 2))
}

/** `ramp_i f_i / factor + (1 - ramp_i) f_i`; the ramp runs between the dimensions that turn beta times over the text. */
function yarnFrequencies(
  plain: readonly number[],
  dim: number,
  theta: number,
  { factor, original_max_position_embeddings: original, beta_fast, beta_slow, truncate }: Scaling<'yarn'>,
): number[] {
  const dimensionOf = (turns: number): number =>
    (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  const [first, last] = [dimensionOf(beta_fast), dimensionOf(beta_slow)]
  const low = Math.max(truncate ? Math.floor(first) : first, 0)
  const high = Math.min(truncate ? Math.ceil(last) : last, dim - 1)
  const span = high === low ? 0.001 : high - low
  return plain.map((frequency, i) => {
    const ramp = Math.min(Math.max((i - low) / span, 0), 1)
    return (frequency / factor) * ramp + frequency * (1 - ramp)
  })
}

/** `0.1 mscale ln(factor) + 1`, which YaRN multiplies cosines and sines by (arXiv:2309.00071 equation 22). */
export function yarnMagnitude(factor: number, mscale = 1): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1
}

function yarnScale({ factor, attention_factor, mscale, mscale_all_dim }: Scaling<'yarn'>): number {
  if (attention_factor !== null) return attention_factor
  if (mscale && mscale_all_dim) return yarnMagnitude(factor, mscale) / yarnMagnitude(factor, mscale_all_dim)
  return yarnMagnitude(factor)
}

function longropeScale(scaling: Scaling<'longrope'>, isLong: boolean): number {
  const named = isLong ? scaling.long_mscale : scaling.short_mscale
  if (named !== null) return named
  const { attention_factor, factor, original_max_position_embeddings: original } = scaling
  return attention_factor ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original)))
}

function llama3Frequency(frequency: number, scaling: Scaling<'llama3'>): number {
  const { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings: original } = scaling
  const wavesInText = (original * frequency) / (2 * Math.PI)
  if (wavesInText < low_freq_factor) return frequency / factor
  if (wavesInText > high_freq_factor) return frequency
  const smooth = (wavesInText - low_freq_factor) / (high_freq_factor - low_freq_factor)
  return ((1 - smooth) * frequency) / factor + smooth * frequency
}
