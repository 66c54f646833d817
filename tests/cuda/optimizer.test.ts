// The device's optimizer: AdamW over tensors of different types, and the norm of their gradients.
import { describe, expect, test } from 'vitest'
import {
  type DType,
  full,
  manualSeed,
  randn,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../src/torch/index.ts'
import { dtypes, expectEqual, expectNear, halves, onCpu, onDevice, relativeError } from './device.ts'

/** Lengths around those of vectors and of a block's stretch; with an empty one. */
const lengths = [1, 7, 64, 1000, 0, 16384, 20003]

interface Case {
  parameter: DType
  gradient?: DType
  moment?: DType
  mastered?: boolean
  norm?: number
  clip?: number
  counts?: readonly number[]
}

const step = 3
/** As train/optimizer writes them: decay, beta1, beta2, rate, inverse root, epsilon, inverse loss scale, step. */
const settings = (): Tensor =>
  tensor([1 - 1e-3, 0.9, 0.95, 1e-2 / (1 - 0.9 ** step), 1 / Math.sqrt(1 - 0.95 ** step), 1e-8, 0.5, step])

function adamWArguments({
  parameter,
  gradient = parameter,
  moment = 'f32',
  mastered = false,
  norm = 10,
  clip = 1,
  counts = lengths,
}: Case) {
  manualSeed(1) // a tensor of one number may be moved to about 0, of which no error is a small share
  const all = (dtype: DType, change: (t: Tensor) => Tensor = t => t): Tensor[] =>
    counts.map(count => change(randn([count])).to(dtype))
  const masters = mastered ? all('f32') : []
  return [
    mastered ? masters.map(master => master.to(parameter)) : all(parameter),
    all(gradient),
    all(moment),
    all(moment, t => t.square()),
    masters,
    settings(),
    tensor([norm]).select(0, 0),
    clip,
  ] as const
}

describe('adamw_mixed_', () => {
  /** Both compute in f32, in another order: a few units apart, and where rounding is by chance the same bits decide. */
  const expectStep = (change: Case): void => {
    tidy(() => {
      const args = adamWArguments(change)
      const actual = onDevice('adamw_mixed_', ...args).changed
      const wanted = onCpu('adamw_mixed_', args, false).changed
      expect(actual.length).toBe(wanted.length)
      for (const [i, tensor] of actual.entries()) {
        if (tensor.dtype === 'f32') expectNear(tensor, wanted[i]!, { terms: 8 })
        // What is rounded differs by some 2^-22: one in 2^14 elements falls to the other side, a share 2^-8 of itself away.
        else
          expect(relativeError(tensor, wanted[i]!)).toBeLessThan((8 * 2 ** -8) / Math.sqrt(tensor.numel || 1))
      }
    })
  }

  test.each<[string, Case]>([
    ['f32', { parameter: 'f32' }],
    ['f32, bf16 moments', { parameter: 'f32', moment: 'bf16' }],
    ['bf16', { parameter: 'bf16' }],
    ['bf16 all over', { parameter: 'bf16', moment: 'bf16' }],
    ['bf16, f32 gradients', { parameter: 'bf16', gradient: 'f32' }],
    ['bf16 with masters', { parameter: 'bf16', mastered: true }],
    ['f16 with masters', { parameter: 'f16', mastered: true }],
    [
      'f16 with masters, f32 gradients',
      { parameter: 'f16', gradient: 'f32', mastered: true, moment: 'bf16' },
    ],
    ['without clipping', { parameter: 'f32', clip: 0 }],
    ['below the clip', { parameter: 'f32', norm: 0.1 }],
    ['more tensors than a launch takes', { parameter: 'f32', counts: Array(101).fill(5) }],
    ['unlike tensors', { parameter: 'f32', counts: [3] }],
  ])('%s', (_, change) => expectStep(change))

  test('parameters of several types in one call keep their places', () => {
    tidy(() => {
      const [a, b] = [
        adamWArguments({ parameter: 'bf16', counts: [40, 50] }),
        adamWArguments({ parameter: 'f32', counts: [60] }),
      ]
      const lists = [0, 1, 2, 3].map(i => [a[i as 0]![0]!, b[i as 0]![0]!, a[i as 0]![1]!])
      const args = [...lists, [], settings(), tensor([1]).select(0, 0), 0]
      const [actual, wanted] = [
        onDevice('adamw_mixed_', ...args).changed,
        onCpu('adamw_mixed_', args, false).changed,
      ]
      for (const [i, t] of actual.entries()) expect(relativeError(t, wanted[i]!)).toBeLessThan(2 ** -8)
    })
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('a norm of %d writes nothing', norm => {
    tidy(() => {
      const args = adamWArguments({ parameter: 'bf16', moment: 'bf16', norm, counts: [100] })
      const { changed } = onDevice('adamw_mixed_', ...args)
      for (const [i, before] of args
        .flat()
        .filter(a => typeof a !== 'number')
        .entries()) {
        expectEqual(changed[i]!, before as Tensor)
      }
    })
  })

  /** One step without gradient or moments multiplies a parameter by `decay`, exactly. */
  const decayed = (value: number, decay: number, count: number): Tensor => {
    const lists = [full([count], value).to('bf16'), ...[0, 0, 0].map(() => zeros([count]))].map(t => [t])
    const rates = tensor([decay, 0.9, 0.95, 0, 1, 1e-8, 1, step])
    return onDevice('adamw_mixed_', ...lists, [], rates, tensor([0]).select(0, 0), 0).changed[0]!
  }

  test('rounding by chance is exact where bf16 can say it', () => {
    tidy(() => expectEqual(decayed(1.5, 0.5, 1000), full([1000], 0.75).to('bf16')))
  })

  test('rounding by chance is right on average', () => {
    // 1 - 0.3 * 2^-8 lies 0.3 of the way from 1 to 1 - 2^-8: a share of 0.3 goes down, give or take its standard error.
    const count = 100_000
    const down = tidy(() =>
      decayed(1, 1 - 0.3 * 2 ** -8, count)
        .float()
        .lt(1)
        .float()
        .mean()
        .item(),
    )
    expect(Math.abs(down - 0.3)).toBeLessThan(5 * Math.sqrt((0.3 * 0.7) / count))
  })

  test('says what does not fit', () => {
    const [parameters, gradients, ...rest] = adamWArguments({ parameter: 'f32', counts: [4, 5] })
    const step = (given: Tensor[]) => (): unknown => onDevice('adamw_mixed_', parameters, given, ...rest)
    expect(step(gradients.slice(0, 1))).toThrow('differ in number')
    expect(step([...gradients].reverse())).toThrow('a gradient must be f32 [4]')
  })
})

describe('gradient_norm', () => {
  test.each(dtypes)('%s', dtype => {
    tidy(() => {
      const gradients = lengths.map(count => randn([count]).to(dtype))
      expectNear(
        onDevice('gradient_norm', gradients).returned[0]!,
        onCpu('gradient_norm', [gradients]).returned[0]!,
      )
    })
  })

  test('types may be mixed, tensors many', () => {
    tidy(() => {
      const gradients = Array.from({ length: 120 }, (_, i) => randn([i + 1]).to(dtypes[i % 3]!))
      expectNear(
        onDevice('gradient_norm', gradients).returned[0]!,
        onCpu('gradient_norm', [gradients]).returned[0]!,
      )
    })
  })

  test('squares that f32 cannot hold are summed', () => {
    const norms = [1e25, 1e-30].map(size => onDevice('gradient_norm', [full([4], size)]).returned[0]!.item())
    expect(norms[0]! / 2e25).toBeCloseTo(1, 6)
    expect(norms[1]! / 2e-30).toBeCloseTo(1, 6)
  })

  test.each(halves)('an infinity in %s shows', dtype => {
    const gradient = full([40], Number.POSITIVE_INFINITY).to(dtype)
    expect(onDevice('gradient_norm', [gradient]).returned[0]!.item()).toBe(Number.POSITIVE_INFINITY)
  })
})
