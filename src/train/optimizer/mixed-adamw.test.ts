// adamw_mixed_ on the CPU against its formula, an operator at a time in f64.
import { describe, expect, test } from 'vitest'
import { type DType, manualSeed, mixedAdamw_, randn, type Tensor, tensor, tidy } from '../../torch/index.ts'

interface Case {
  parameter: DType
  gradient?: DType
  moment?: DType
  isMastered?: boolean
  norm?: number
  clip?: number
}

const step = 3
const [decay, beta1, beta2, epsilon, inverseScale] = [0.999, 0.9, 0.95, 1e-8, 0.5]
const rate = 1e-2 / (1 - beta1 ** step)
const inverseRoot = 1 / Math.sqrt(1 - beta2 ** step)

/** A piece that threads share has 32,768 elements: below, at and above it. */
const lengths = [1, 0, 33, 32768, 70001]

interface Lists {
  parameters: Tensor[]
  gradients: Tensor[]
  means: Tensor[]
  squares: Tensor[]
  masters: Tensor[]
}

function drawn({ parameter, gradient = parameter, moment = 'f32', isMastered = false }: Case): Lists {
  manualSeed(1)
  const all = (dtype: DType, change: (t: Tensor) => Tensor = t => t): Tensor[] =>
    lengths.map(count => change(randn([count])).to(dtype))
  const masters = isMastered ? all('f32') : []
  return {
    parameters: isMastered ? masters.map(master => master.to(parameter)) : all(parameter),
    gradients: all(gradient),
    means: all(moment),
    squares: all(moment, t => t.square()),
    masters,
  }
}

const copied = (lists: Lists, change = (t: Tensor): Tensor => t.clone()): Lists => ({
  parameters: lists.parameters.map(change),
  gradients: lists.gradients.map(change),
  means: lists.means.map(change),
  squares: lists.squares.map(change),
  masters: lists.masters.map(change),
})

function move({ parameters, gradients, means, squares, masters }: Lists, norm: number, clip: number): void {
  const rates = tensor([decay, beta1, beta2, rate, inverseRoot, epsilon, inverseScale, step])
  mixedAdamw_(parameters, gradients, means, squares, masters, rates, tensor([norm]).select(0, 0), clip)
}

function reference(lists: Lists, norm: number, clip: number): Lists {
  const wide = copied(lists, t => t.double().clone())
  const factor = inverseScale * (clip > 0 ? Math.min(1, clip / (norm * inverseScale + 1e-6)) : 1)
  for (const [i, gradient] of wide.gradients.entries()) {
    const [g, m, v] = [gradient.mul(factor), wide.means[i]!, wide.squares[i]!]
    m.mul_(beta1).add_(g, 1 - beta1)
    v.mul_(beta2).add_(g.square(), 1 - beta2)
    const moving = (wide.masters[i] ?? wide.parameters[i])!
    moving.mul_(decay).sub_(m.div(v.sqrt().mul(inverseRoot).add(epsilon)), rate)
    wide.parameters[i]!.copy_(moving)
  }
  return wide
}

/** What rounding changes of a number, relatively, at most. By chance it may go to the farther of two neighbours. */
const roundoff: Partial<Record<DType, number>> = { f32: 2 ** -24, f16: 2 ** -11, bf16: 2 ** -7 }

function expectNear(actual: Tensor, wanted: Tensor): void {
  if (wanted.numel === 0) return
  const norm = (t: Tensor): number => Math.sqrt(t.square().sum().item())
  const error = norm(actual.double().sub(wanted)) / norm(wanted)
  expect(error).toBeLessThan(roundoff[actual.dtype]! + 8 * 2 ** -24) // eight roundings in f32 before the last
}

describe('adamw_mixed_', () => {
  test.each<[string, Case]>([
    ['f32', { parameter: 'f32' }],
    ['f32, bf16 moments', { parameter: 'f32', moment: 'bf16' }],
    ['bf16', { parameter: 'bf16' }],
    ['bf16 all over', { parameter: 'bf16', moment: 'bf16' }],
    ['bf16, f32 gradients', { parameter: 'bf16', gradient: 'f32' }],
    ['bf16 with masters', { parameter: 'bf16', isMastered: true }],
    ['f16 with masters', { parameter: 'f16', isMastered: true, moment: 'bf16' }],
    ['without clipping', { parameter: 'bf16', clip: 0 }],
    ['below the clip', { parameter: 'f32', norm: 0.1 }],
  ])('%s', (_, change) => {
    tidy(() => {
      const { norm = 10, clip = 1 } = change
      const given = drawn(change)
      const wanted = reference(given, norm, clip)
      const before = given.parameters[4]!.clone()
      move(given, norm, clip)
      for (const name of ['parameters', 'means', 'squares', 'masters'] as const)
        for (const [i, actual] of given[name].entries()) expectNear(actual, wanted[name][i]!)
      expect(given.parameters[4]!.sub(before).abs().max().item()).toBeGreaterThan(0.01)
    })
  })

  test('the same step gives the same bits, rounding by chance included', () => {
    tidy(() => {
      const given = drawn({ parameter: 'bf16', moment: 'bf16' })
      const again = copied(given)
      for (const lists of [given, again]) move(lists, 10, 1)
      for (const name of ['parameters', 'means', 'squares'] as const)
        for (const [i, actual] of given[name].entries())
          expect(actual.tolist()).toEqual(again[name][i]!.tolist())
    })
  })

  test('what autograd has saved is known to have changed', () => {
    const weight = randn([8]).requiresGrad_()
    const loss = weight.square().sum() // saves the weight
    const zeros = (): Tensor[] => [randn([8]).mul(0)]
    tidy(() =>
      move({ parameters: [weight], gradients: zeros(), means: zeros(), squares: zeros(), masters: [] }, 1, 0),
    )
    expect(() => loss.backward()).toThrow(/modified by an inplace operation/)
  })
})
