// Each rule against transformers' modeling_rope_utils.py, written out plainly here; no rule shares code with ours.
import { describe, expect, test } from 'vitest'
import { expectClose } from '../../tests/support/tensors.ts'
import { arange, cat, randn } from '../torch/index.ts'
import {
  plainFrequencies,
  type RopeScaling,
  rotaryFrequencies,
  rotate,
  rotation,
  yarnMagnitude,
} from './index.ts'

const [dim, theta] = [16, 10_000]
const inverse = Array.from({ length: dim / 2 }, (_, i) => 1 / theta ** ((2 * i) / dim))

function expectFrequencies(scaling: RopeScaling, length: number, wanted: number[], scale = 1): void {
  const actual = rotaryFrequencies({ dim, theta, scaling }, length)
  expect(actual.frequencies.length).toBe(dim / 2)
  for (const [i, frequency] of actual.frequencies.entries())
    expect(frequency / (wanted[i] ?? 0)).toBeCloseTo(1, 12)
  expect(actual.scale).toBeCloseTo(scale, 12)
}

test('default: theta^(-2i/d)', () => {
  expectFrequencies({ rope_type: 'default' }, 5, inverse)
  expect(plainFrequencies(4, 100)).toEqual([1, 0.1])
})

test('linear: all divided', () =>
  expectFrequencies(
    { rope_type: 'linear', factor: 4 },
    5,
    inverse.map(f => f / 4),
  ))

describe('dynamic', () => {
  const scaling: RopeScaling = { rope_type: 'dynamic', factor: 2, original_max_position_embeddings: 64 }
  test('as it was within the original length', () => expectFrequencies(scaling, 64, inverse))
  test('beyond, a base of theta ((s L / L0) - (s - 1))^(d / (d - 2))', () => {
    const base = theta * ((2 * 100) / 64 - 1) ** (dim / (dim - 2))
    const wanted = Array.from({ length: dim / 2 }, (_, i) => 1 / base ** ((2 * i) / dim))
    expectFrequencies(scaling, 100, wanted)
  })
})

describe('yarn', () => {
  const yarn = {
    rope_type: 'yarn',
    factor: 8,
    original_max_position_embeddings: 128,
    beta_fast: 32,
    beta_slow: 1,
    truncate: true,
    attention_factor: null,
    mscale: null,
    mscale_all_dim: null,
  } as const

  /** find_correction_range and linear_ramp_factor of transformers. */
  function wanted(truncate: boolean): number[] {
    const rotations = (n: number): number => (dim * Math.log(128 / (n * 2 * Math.PI))) / (2 * Math.log(theta))
    let [low, high] = [rotations(32), rotations(1)]
    if (truncate) [low, high] = [Math.floor(low), Math.ceil(high)]
    low = Math.max(low, 0)
    high = Math.min(high, dim - 1)
    return inverse.map((f, i) => {
      const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)))
      const extrapolation = 1 - ramp
      return (f / 8) * (1 - extrapolation) + f * extrapolation
    })
  }

  const magnitude = 0.1 * Math.log(8) + 1
  test('with whole bounds', () => expectFrequencies(yarn, 5, wanted(true), magnitude))
  test('with exact bounds, as gpt-oss has it', () =>
    expectFrequencies({ ...yarn, truncate: false }, 5, wanted(false), magnitude))
  test('the two bounds differ, so that one cannot pass for the other', () =>
    expect(wanted(true)).not.toEqual(wanted(false)))
  test('a given attention factor', () =>
    expectFrequencies({ ...yarn, attention_factor: 1.5 }, 5, wanted(true), 1.5))
  test("DeepSeek's pair of factors, of which equal ones cancel", () => {
    expectFrequencies({ ...yarn, mscale: 0.7, mscale_all_dim: 0.7 }, 5, wanted(true), 1)
    const ratio = (0.1 * 1 * Math.log(8) + 1) / (0.1 * 0.5 * Math.log(8) + 1)
    expectFrequencies({ ...yarn, mscale: 1, mscale_all_dim: 0.5 }, 5, wanted(true), ratio)
  })
  test('no magnitude where nothing is stretched', () => expect(yarnMagnitude(1)).toBe(1))
})

describe('longrope', () => {
  const short = [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
  const long = [2, 3, 4, 5, 6, 7, 8, 9]
  const longrope = {
    rope_type: 'longrope',
    factor: 32,
    original_max_position_embeddings: 4096,
    short_factor: short,
    long_factor: long,
    attention_factor: null,
    short_mscale: null,
    long_mscale: null,
  } as const
  const scale = Math.sqrt(1 + Math.log(32) / Math.log(4096))
  const divided = (by: number[]): number[] => inverse.map((f, i) => f / (by[i] ?? 1))

  test('short texts', () => expectFrequencies(longrope, 4096, divided(short), scale))
  test('long texts', () => expectFrequencies(longrope, 4097, divided(long), scale))
  test('scales that Phi names', () => {
    const named = { ...longrope, short_mscale: 1.1, long_mscale: 1.3 }
    expectFrequencies(named, 10, divided(short), 1.1)
    expectFrequencies(named, 5000, divided(long), 1.3)
  })
})

test('llama3: long waves stretched, short ones kept, a ramp between', () => {
  const [factor, low, high, original] = [8, 1, 4, 512]
  const wanted = inverse.map(f => {
    const wavelength = (2 * Math.PI) / f
    if (wavelength < original / high) return f
    if (wavelength > original / low) return f / factor
    const smooth = (original / wavelength - low) / (high - low)
    return ((1 - smooth) * f) / factor + smooth * f
  })
  expect(new Set(wanted.map((f, i) => Math.round((f / (inverse[i] ?? 1)) * 1e6))).size).toBeGreaterThan(2)
  const scaling: RopeScaling = {
    rope_type: 'llama3',
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  }
  expectFrequencies(scaling, 5, wanted)
})

test('partial rotation turns the first dimensions and leaves the rest', () => {
  const x = randn([1, 2, 3, 10], { seed: 1 })
  const angles = rotation(arange(0, 3), plainFrequencies(4, 100))
  const turned = rotate(x.narrow(-1, 0, 4), angles)
  expectClose(rotate(x, angles), cat([turned, x.narrow(-1, 4, 6)], -1), 0)
})
