// The device's kernels of routers, norms, positions and loss.
// Shapes: T tokens, E experts, K choices; B sequences, H heads, D head width, R rotated dimensions; C rows, V vocabulary.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { arange, full, randint, randn, type Tensor, tensor, tidy, zeros } from '../../src/torch/index.ts'
import { dtypes, expectEqual, expectNear, onCpu, onDevice, relativeError } from './device.ts'

describe('routing', () => {
  /** Logits whose differences are far above rounding, but for those that are equal; in an order of their own per token. */
  const distinct = (tokens: number, numExperts: number): Tensor =>
    randn([tokens, numExperts])
      .argsort(-1)
      .float()
      .mul(8 / numExperts)

  const expectRouted = (logits: Tensor, k: number, normalize: boolean): void => {
    const [tokens, numExperts] = logits.shape as [number, number]
    const [weights, indices, probs] = onDevice('route_forward', logits, k, normalize).returned as [
      Tensor,
      Tensor,
      Tensor,
    ]
    const wanted = onCpu('route_forward', [logits, k, normalize]).returned as [Tensor, Tensor, Tensor]
    expectEqual(indices, wanted[1])
    expectNear(probs, wanted[2], { terms: numExperts + 8 })
    expectNear(weights, wanted[0], { terms: numExperts + k + 8 })
    const gradients = [randn([tokens, k]), randn([tokens, numExperts])]
    for (const [dWeights, dProbs] of [gradients, [gradients[0]!, null], [null, gradients[1]!]]) {
      const args = [dWeights!, dProbs!, weights, indices, probs, normalize]
      const [actual] = onDevice('route_backward', ...args).returned
      const [reference] = onCpu('route_backward', args).returned
      // Where one expert takes all, everything cancels: what is left is measured against what came in.
      const scale = Math.max(
        1,
        relativeError(probs.mul(gradients[1]!), zeros([])) / (relativeError(reference!, zeros([])) || 1),
      )
      expectNear(actual!, reference!, { terms: (numExperts + k + 8) * scale })
    }
  }

  test.each([
    [0, 8, 2],
    [1, 1, 1],
    [33, 8, 2],
    [9, 60, 4],
    [6, 128, 8],
    [5, 1024, 16],
    [4, 100, 100],
    [3, 40, 36],
  ])('%i tokens, %i experts, %i of them', (tokens, numExperts, k) => {
    for (const normalize of [true, false])
      tidy(() => expectRouted(distinct(tokens, numExperts), k, normalize))
  })

  test('any shape', () => {
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.integer({ min: 1, max: 300 }),
        fc.nat(9),
        fc.boolean(),
        (t, e, k, normalize) => tidy(() => expectRouted(distinct(t, e), Math.min(k + 1, e), normalize)),
      ),
      { numRuns: 20 },
    )
  })

  test('of equal logits, the lowest index comes first', () => {
    const [, indices] = onDevice('route_forward', zeros([2, 70]), 5, true).returned
    expect(indices!.tolist()).toEqual([
      [0, 1, 2, 3, 4],
      [0, 1, 2, 3, 4],
    ])
  })

  test('experts chosen among NaN exist', () => {
    const [weights, indices] = onDevice('route_forward', full([1, 40], Number.NaN), 3, false).returned
    expect(indices!.tolist()).toEqual([[0, 1, 2]])
    expect(weights!.tolist()).toEqual([[Number.NaN, Number.NaN, Number.NaN]])
  })

  test('says what it cannot route', () => {
    expect(() => onDevice('route_forward', zeros([1, 1025]), 1, true)).toThrow('at most 1024 experts')
    expect(() => onDevice('route_forward', zeros([1, 4]), 5, true)).toThrow('k must be in 1..4, got 5')
  })
})

// [600, 129]: a block has several rows, one after the other.
describe('rms_norm', () => {
  const expectNormal = (shape: readonly number[], dtype: (typeof dtypes)[number]): void => {
    const width = shape.at(-1)!
    const [x, weight, dY] = [shape, [width], shape].map(sizes => randn(sizes).to(dtype)) as [
      Tensor,
      Tensor,
      Tensor,
    ]
    const [y, scale] = onDevice('rms_norm_forward', x, weight, 1e-5).returned as [Tensor, Tensor]
    const [wantedY, wantedScale] = onCpu('rms_norm_forward', [x, weight, 1e-5]).returned as [Tensor, Tensor]
    const terms = width + 8
    expectNear(y, wantedY, { roundings: 2, terms })
    expectNear(scale, wantedScale, { terms })
    const args = [dY, x, weight, scale] as const
    const [dX, dWeight] = onDevice('rms_norm_backward', ...args).returned as [Tensor, Tensor]
    const wanted = onCpu('rms_norm_backward', args).returned as [Tensor, Tensor]
    // A row of one or two is all direction: its gradient all but cancels, down to the share eps / x^2.
    expectNear(dX, wanted[0], { terms: width < 4 ? 1e6 : terms })
    expectNear(dWeight, wanted[1], { terms: x.numel / width + 8 })
  }

  test.each([
    [[0, 8]],
    [[1, 64]],
    [[3, 5, 128]],
    [[40, 7]],
    [[9, 2048]],
    [[2, 4104]],
    [[1300, 16]],
    [[600, 129]],
  ])('%j', shape => {
    for (const dtype of dtypes) tidy(() => expectNormal(shape, dtype))
  })

  test('any shape', () => {
    const width = fc.oneof(
      fc.integer({ min: 4, max: 100 }),
      fc.integer({ min: 1, max: 40 }).map(n => n * 8),
    )
    fc.assert(
      fc.property(fc.nat(70), width, fc.constantFrom(...dtypes), (rows, d, dtype) =>
        tidy(() => expectNormal([rows, d], dtype)),
      ),
      { numRuns: 20 },
    )
  })

  test('a row of zeros stays zero', () => {
    const [y] = onDevice('rms_norm_forward', zeros([1, 8]), full([8], 2), 1e-6).returned
    expect(y!.tolist()).toEqual([Array(8).fill(0)])
  })

  test('says what does not fit', () => {
    expect(() => onDevice('rms_norm_forward', zeros([2, 8]), zeros([7]), 1e-6)).toThrow(
      'weight must be f32 [8]',
    )
    expect(() => onDevice('rms_norm_forward', zeros([2, 8]), zeros([8]).to('bf16'), 1e-6)).toThrow('got bf16')
  })
})

describe('rotate', () => {
  const expectTurned = (x: Tensor, rotated: number, perSequence: boolean): void => {
    const [batch, positions] = x.shape as [number, number]
    const angles = randn(perSequence ? [batch, positions, rotated] : [positions, rotated])
    for (const inverse of [false, true]) {
      const args = [x, angles.cos(), angles.sin(), inverse] as const
      const [actual] = onDevice('rotate_forward', ...args).returned
      actual!.view([actual!.numel]) // contiguous, or it throws
      expectNear(actual!, onCpu('rotate_forward', args).returned[0]!)
    }
  }

  test.each([
    [[2, 3, 4, 64], 64],
    [[1, 5, 2, 64], 32],
    [[2, 2, 3, 10], 6],
    [[1, 1, 1, 256], 256],
    [[0, 4, 2, 8], 8],
    [[2, 3, 1, 8], 0],
  ] as const)('%j, %i dimensions', (shape, rotated) => {
    for (const dtype of dtypes) {
      for (const perSequence of [false, true])
        tidy(() => expectTurned(randn([...shape]).to(dtype), rotated, perSequence))
    }
  })

  test.each([32, 6])('heads before positions, %i wide', width => {
    tidy(() => expectTurned(randn([2, 3, 5, width]).transpose(1, 2), width, false))
  })

  test('turned back, x is as before', () => {
    const [x, angles] = [randn([2, 3, 2, 16]), randn([3, 8])]
    const halves = [angles, angles].map(a => a.cos())
    const cos = halves[0]!.repeat([1, 2])
    const sin = angles.sin().repeat([1, 2])
    const [turned] = onDevice('rotate_forward', x, cos, sin, false).returned
    expectNear(onDevice('rotate_forward', turned!, cos, sin, true).returned[0]!, x)
  })

  test('says what does not fit', () => {
    expect(() =>
      onDevice('rotate_forward', zeros([1, 2, 1, 4]), zeros([2, 3]), zeros([2, 3]), false),
    ).toThrow('an even number of at most 4')
  })
})

describe('cross_entropy_', () => {
  const expectLoss = (logits: Tensor, targets: Tensor): void => {
    const args = [logits, targets, -100] as const
    const [actual, wanted] = [onDevice('cross_entropy_', ...args), onCpu('cross_entropy_', args)]
    const terms = logits.size(1) + 8
    expectNear(actual.changed[0]!, wanted.changed[0]!, { terms })
    expectNear(actual.returned[0]!, wanted.returned[0]!, { terms })
  }

  test.each([
    [0, 8],
    [1, 1],
    [5, 7],
    [9, 1000],
    [2, 9001],
    [3, 4096],
  ])('%i rows of %i', (rows, vocabulary) => {
    for (const dtype of dtypes) {
      tidy(() => expectLoss(randn([rows, vocabulary]).mul(3).to(dtype), randint(0, vocabulary, [rows])))
    }
  })

  test('rows whose target is ignored are zero', () => {
    const targets = tensor([1n, -100n, 2n])
    const { returned, changed } = onDevice('cross_entropy_', randn([3, 8], { seed: 1 }), targets)
    expect(returned[0]!.tolist()).toEqual([expect.any(Number), 0, expect.any(Number)])
    expect(changed[0]!.select(0, 1).tolist()).toEqual(Array(8).fill(0))
    tidy(() => expectLoss(randn([3, 8]), targets))
  })

  test('large logits do not overflow', () => {
    tidy(() => expectLoss(arange(64).float().mul(1000).view([1, 64]), tensor([60n])))
  })

  test('a target that does not exist makes the loss NaN and writes nowhere else', () => {
    const { returned, changed } = onDevice('cross_entropy_', zeros([1, 4]), tensor([9n]))
    expect(returned[0]!.tolist()).toEqual([Number.NaN])
    expect(changed[0]!.tolist()).toEqual([[0.25, 0.25, 0.25, 0.25]])
  })
})
