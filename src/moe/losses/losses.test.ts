import { describe, expect, test } from 'vitest'
import { four, identity, rounded, z } from '../../../tests/support/router-examples.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { gradcheck, noGrad, randn, type Tensor, tensor, zeros } from '../../torch/index.ts'
import {
  balanceLoss,
  balancePresets,
  countPerExpert,
  deviceBalanceLoss,
  entropyLoss,
  globalBalanceLoss,
  squaredBalanceLoss,
  switchBalanceLoss,
  type TokenRouting,
  TopKRouter,
  varianceLoss,
} from '../index.ts'

const route = (x: Tensor, topK = 1): TokenRouting => identity(new TopKRouter({ ...four, topK })).forward(x)

/** Every token chose as given; probabilities are even. */
function fixed(choices: number[][], numExperts: number): TokenRouting {
  const even = zeros([choices.length, numExperts], { dtype: 'f64' }).add(1 / numExperts)
  const indices = tensor(choices).long()
  return { kind: 'token', indices, weights: indices.double(), logits: even, probs: even, mask: null }
}

const balanced = fixed(
  [
    [0, 1],
    [2, 3],
    [1, 0],
    [3, 2],
  ],
  4,
)

describe('presets', () => {
  test.each([
    ['switch', 2 * 1],
    ['gshard', 2 * 1],
    ['mixtral-hf', 2],
    ['megatron', 2 * 1],
    ['olmoe', 1],
    ['fairseq', 1],
  ] as const)('%s is %d for two balanced layers of top-2', (preset, wanted) => {
    expect(balanceLoss([balanced, balanced], balancePresets[preset]).item()).toBeCloseTo(wanted, 12)
  })

  test('only first choices count in gshard and fairseq', () => {
    const lopsided = fixed(
      [
        [0, 1],
        [0, 1],
        [0, 2],
        [0, 3],
      ],
      4,
    )
    // Even probabilities would hide any share: weigh them by hand.
    const probs = tensor([[0.7, 0.1, 0.1, 0.1]], { dtype: 'f64' }).expand([4, 4])
    const of = (preset: 'gshard' | 'switch'): number =>
      balanceLoss([{ ...lopsided, probs }], balancePresets[preset]).item()
    expect(of('gshard')).toBeCloseTo(4 * 0.7, 12)
    expect(of('switch')).toBeCloseTo(4 * (0.5 * 0.7 + 0.5 * 0.1), 12)
  })

  test('together are layers of as many experts alone', () => {
    const three = fixed([[0], [1], [2]], 3)
    const of = (...layers: TokenRouting[]): number => balanceLoss(layers, balancePresets['mixtral-hf']).item()
    expect(of(balanced, three, balanced)).toBeCloseTo(of(balanced, balanced) + of(three), 12)
  })

  test('together, opposite imbalances of two layers cancel; summed, they do not', () => {
    const probs = (p: number): Tensor => tensor([[p, 1 - p]], { dtype: 'f64' })
    const left = { ...fixed([[0]], 2), probs: probs(0.9) }
    const right = { ...fixed([[1]], 2), probs: probs(0.1) }
    expect(balanceLoss([left, right], balancePresets['mixtral-hf']).item()).toBeCloseTo(1, 12)
    expect(balanceLoss([left, right], balancePresets.switch).item()).toBeCloseTo(2 * 1.8, 12)
  })
})

describe('scope', () => {
  test('balance within each sequence is stricter than over the batch', () => {
    const probs = tensor(
      [
        [0.9, 0.1],
        [0.9, 0.1],
        [0.1, 0.9],
        [0.1, 0.9],
      ],
      { dtype: 'f64' },
    )
    const routing = { ...fixed([[0], [0], [1], [1]], 2), probs } // each sequence of two uses one expert
    expect(balanceLoss([routing], balancePresets.switch).item()).toBeCloseTo(1, 12)
    const perSequence = { scope: 'sequence' as const, starts: [0, 2, 4] }
    expect(balanceLoss([routing], balancePresets.switch, perSequence).item()).toBeCloseTo(1.8, 12)
  })

  test('padding counts in no sequence, and each sequence counts the same', () => {
    const probs = tensor(
      [
        [0.9, 0.1],
        [0.3, 0.7], // padding
        [0.8, 0.2],
        [0.4, 0.6],
      ],
      { dtype: 'f64' },
    )
    const mask = tensor([true, false, true, true])
    const routing = { ...fixed([[0], [-1], [0], [1]], 2), probs, mask }
    const of = (preset: 'switch' | 'mixtral-hf'): number =>
      balanceLoss([routing], balancePresets[preset], { scope: 'sequence', starts: [0, 2, 4] }).item()
    // The first: 2 (1 * 0.9 + 0 * 0.1) = 1.8. The second: 2 (0.5 * 0.6 + 0.5 * 0.4) = 1.
    expect(of('switch')).toBeCloseTo((1.8 + 1) / 2, 12)
    expect(of('mixtral-hf')).toBeCloseTo((1.8 + 1) / 2, 12) // the same for one choice per token
  })

  test('sequences of several layers add up as the layers do', () => {
    const rows = (first: number[], second: number[]): Tensor => tensor([first, second], { dtype: 'f64' })
    const left = { ...fixed([[0], [1]], 2), probs: rows([0.9, 0.1], [0.3, 0.7]) }
    const right = { ...fixed([[1], [1]], 2), probs: rows([0.2, 0.8], [0.4, 0.6]) }
    const of = (preset: 'switch' | 'olmoe' | 'mixtral-hf'): number =>
      balanceLoss([left, right], balancePresets[preset], { scope: 'sequence', starts: [0, 1, 2] }).item()
    // A sequence of one token has 2 p of its expert: 1.8 and 1.4 in one layer, 1.6 and 1.2 in the other.
    expect(of('switch')).toBeCloseTo(1.6 + 1.4, 12)
    expect(of('olmoe')).toBeCloseTo((1.6 + 1.4) / 2, 12)
    // Both layers as one: the first sequence's choices cancel, the second's are twice expert 1, of mean probability 0.65.
    expect(of('mixtral-hf')).toBeCloseTo((1 + 1.3) / 2, 12)
  })

  test('padding has no part in the probabilities that are weighed by shares of a larger batch', () => {
    const probs = tensor(
      [
        [0.9, 0.1],
        [0.1, 0.9], // padding
      ],
      { dtype: 'f64' },
    )
    const routing = { ...fixed([[0], [-1]], 2), probs, mask: tensor([true, false]) }
    expect(globalBalanceLoss(routing, [3, 1]).item()).toBeCloseTo(2 * (0.75 * 0.9 + 0.25 * 0.1), 12)
  })

  test('shares of the whole batch, probabilities of a part: the parts average to the whole', () => {
    const x = randn([20, 4], { dtype: 'f64', seed: 1 })
    const whole = route(x, 2)
    const counts = countPerExpert(whole)
    const parts = [x.narrow(0, 0, 10), x.narrow(0, 10, 10)].map(part =>
      globalBalanceLoss(route(part, 2), counts).item(),
    )
    expect(((parts[0] ?? 0) + (parts[1] ?? 0)) / 2).toBeCloseTo(switchBalanceLoss(whole).item(), 12)
  })
})

describe('the textbook form', () => {
  test('worked example', () => {
    expect(squaredBalanceLoss(route(z), 'straight-through').item()).toBeCloseTo(0.083333, 6)
    expect(squaredBalanceLoss(route(z), 'soft').item()).toBeCloseTo(0.019452, 6)
  })

  test('straight-through, its gradient is 2/E of the Switch loss', () => {
    const gradient = (loss: (routing: TokenRouting) => Tensor): Tensor => {
      const x = z.clone().requiresGrad_()
      loss(route(x)).backward()
      return x.grad as Tensor
    }
    const through = gradient(routing => squaredBalanceLoss(routing, 'straight-through'))
    expectClose(through, gradient(switchBalanceLoss).mul(2 / 4), 1e-12)
  })

  test('soft, it is satisfied while every token chooses one expert', () => {
    const all = route(zeros([8, 4], { dtype: 'f64' }))
    expect(countPerExpert(all)).toEqual([8, 0, 0, 0])
    expect(squaredBalanceLoss(all, 'soft').item()).toBeCloseTo(0, 12)
    expect(squaredBalanceLoss(all, 'straight-through').item()).toBeCloseTo(0.75, 12)
  })
})

describe('others', () => {
  test('entropy: 0 when decided, ln E when even', () => {
    expect(entropyLoss(route(zeros([3, 4], { dtype: 'f64' }))).item()).toBeCloseTo(Math.log(4), 12)
    expect(entropyLoss(route(z.mul(1000))).item()).toBeCloseTo(0, 6)
  })

  test('among devices: 1 when balanced, and blind to imbalance within one', () => {
    expect(deviceBalanceLoss(balanced, 2).item()).toBeCloseTo(1, 12)
    const probs = tensor([[0.4, 0.1, 0.4, 0.1]], { dtype: 'f64' }).expand([4, 4])
    const within = { ...fixed([[0], [2], [0], [2]], 4), probs }
    expect(deviceBalanceLoss(within, 2).item()).toBeCloseTo(1, 12)
    expect(switchBalanceLoss(within).item()).toBeCloseTo(1.6, 12)
  })

  test('the experts of a device are consecutive', () => {
    const probs = tensor([[0.3, 0.2, 0.2, 0.1, 0.1, 0.1]], { dtype: 'f64' }).expand([4, 6])
    const routing = { ...fixed([[0], [1], [2], [3]], 6), probs }
    // Three of four choices and 0.7 of the probability are of the first three experts: f = 6/3 * share.
    expect(deviceBalanceLoss(routing, 2).item()).toBeCloseTo(2 * 0.75 * 0.7 + 2 * 0.25 * 0.3, 12)
    // In threes: 2, 2, 0 of the choices; 0.5, 0.3, 0.2 of the probability.
    expect(deviceBalanceLoss(routing, 3).item()).toBeCloseTo(3 * 0.5 * 0.5 + 3 * 0.5 * 0.3, 12)
    // One device holds all: balanced whatever they chose.
    expect(deviceBalanceLoss(routing, 1).item()).toBeCloseTo(1, 12)
    expect(deviceBalanceLoss(routing, 6).item()).toBeCloseTo(switchBalanceLoss(routing).item(), 12)
  })

  test('variance: lower, the more tokens differ', () => {
    expect(varianceLoss(route(zeros([3, 4], { dtype: 'f64' }))).item()).toBeCloseTo(0, 12)
    expect(varianceLoss(route(z.mul(10))).item()).toBeLessThan(varianceLoss(route(z)).item())
  })

  test('gradients are the derivatives', () => {
    const x = randn([6, 4], { dtype: 'f64', seed: 3, requiresGrad: true })
    gradcheck(
      () =>
        [
          entropyLoss,
          varianceLoss,
          (r: TokenRouting) => deviceBalanceLoss(r, 2),
          (r: TokenRouting) => squaredBalanceLoss(r, 'soft'),
        ]
          .map(loss => loss(route(x, 2)))
          .reduce((sum, loss) => sum.add(loss)),
      [x],
    )
  })

  test('padding counts in none of them', () => {
    const rows = noGrad(() => z.clone())
    const router = identity(new TopKRouter({ ...four, topK: 2 }))
    const mask = tensor([true, true, false])
    const masked = router.forward(rows, { mask })
    const short = router.forward(rows.narrow(0, 0, 2))
    const all = (routing: TokenRouting): number[] => [
      entropyLoss(routing).item(),
      varianceLoss(routing).item(),
      deviceBalanceLoss(routing, 2).item(),
      squaredBalanceLoss(routing, 'soft').item(),
      squaredBalanceLoss(routing, 'straight-through').item(),
      ...Object.values(balancePresets).map(preset => balanceLoss([routing, routing], preset).item()),
    ]
    expect(rounded(tensor(all(masked), { dtype: 'f64' }), 10)).toEqual(
      rounded(tensor(all(short), { dtype: 'f64' }), 10),
    )
  })
})
