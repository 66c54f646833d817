import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { manualSeed, randn } from '../../torch/index.ts'
import {
  type Decisions,
  deviceBalanceLoss,
  entropyLoss,
  GatedExperts,
  HeterogeneousExperts,
  type LinearRouter,
  lossFields,
  lossTerms,
  NoisyTopKRouter,
  parameterPenalty,
  ReinforceRouter,
  reinforceLoss,
  squaredBalanceLoss,
  switchBalanceLoss,
  varianceLoss,
} from '../index.ts'

const sizes = { hiddenSize: 6, numExperts: 4 }
const x = randn([10, 6], { seed: 1 })
const schema = z.strictObject(lossFields)
const tokenLosses = randn([10], { seed: 2 })

function decided(
  experts: Decisions['experts'] = [],
  router: LinearRouter = new NoisyTopKRouter({ ...sizes, topK: 2 }),
): Decisions {
  manualSeed(1)
  const layers = [router.forward(x), router.forward(x)]
  return {
    layers,
    experts,
    scored: layers,
    starts: [0, 10],
    mixtures: [],
    domains: [],
    tokenLosses: () => tokenLosses,
  }
}

const named = (settings: object, decisions = decided()): [string, number, number][] =>
  [...lossTerms(schema.parse(settings), decisions)].map(({ name, value, weight }) => [
    name,
    weight,
    value.item(),
  ])

test('without settings there are the balance loss and the z-loss', () => {
  expect(named({}).map(([name, weight]) => [name, weight])).toEqual([
    ['balance', 0.01],
    ['z', 0.001],
  ])
  expect(named({ balance: 'none', z: 0 })).toEqual([])
})

test("a router's own come third, in the order of the settings, and the others after", () => {
  const settings = {
    router: { load: 0.1, importance: 0.2, unknown: 1, balance: 0 },
    parameterPenalty: 0.3,
    squaredBalance: {},
    deviceBalance: { groups: 2 },
    variance: 0.4,
    entropy: -0.5,
  }
  expect(named(settings).map(([name, weight]) => [name, weight])).toEqual([
    ['balance', 0.01],
    ['z', 0.001],
    ['router.load', 0.1],
    ['router.importance', 0.2],
    ['entropy', -0.5],
    ['variance', 0.4],
    ['deviceBalance', 0.05],
    ['squaredBalance', 0.01],
    ['parameterPenalty', 0.3],
  ])
})

describe('over two layers', () => {
  const decisions = decided()
  const [layer] = decisions.layers
  if (!layer) throw new Error('there are layers')

  test.each([
    [{ entropy: 1 }, entropyLoss(layer)],
    [{ variance: 1 }, varianceLoss(layer)],
    [{ deviceBalance: { groups: 2, coefficient: 1 } }, deviceBalanceLoss(layer, 2)],
    [{ squaredBalance: { form: 'soft', coefficient: 1 } }, squaredBalanceLoss(layer, 'soft')],
    [{ parameterPenalty: 1 }, switchBalanceLoss(layer).mul(2)], // K times it, for experts of one width
  ])('%o is the sum', (settings, ofOne) => {
    const same = { ...decisions, layers: [layer, layer] }
    const [[, , value] = ['', 0, 0]] = named({ balance: 'none', z: 0, ...settings }, same)
    expect(value).toBeCloseTo(2 * ofOne.item(), 5)
  })
})

test('the penalty on wide experts knows their widths', () => {
  const experts = [1, 2, 3, 10].map(intermediateSize => ({ intermediateSize }))
  const wide = new HeterogeneousExperts({ hiddenSize: 6, experts })
  const plain = new GatedExperts({ ...sizes, intermediateSize: 4 })
  const decisions = decided([wide, plain])
  const [first, second] = decisions.layers
  const [[, , value] = ['', 0, 0]] = named({ balance: 'none', z: 0, parameterPenalty: 1 }, decisions)
  const wanted = parameterPenalty(first!, wide.sizes).item() + parameterPenalty(second!, [1, 1, 1, 1]).item()
  expect(value).toBeCloseTo(wanted, 5)
})

test('what needs the cross-entropy of each token asks for it, and nothing else does', () => {
  let asked = 0
  const decisions = {
    ...decided([], new ReinforceRouter(sizes)),
    tokenLosses: () => {
      asked++
      return tokenLosses
    },
  }
  named({ router: { certainty: 0.1 } }, decisions)
  expect(asked).toBe(0)
  const [[, , value] = ['', 0, 0]] = named({ balance: 'none', z: 0, router: { policy: 1 } }, decisions)
  const [a, b] = decisions.layers.map(layer => {
    const options = { baseline: layer.value!, normalized: true, entropy: 0 }
    return reinforceLoss(layer, tokenLosses.neg(), options).item()
  })
  expect([asked, value]).toEqual([1, expect.closeTo((a ?? 0) + (b ?? 0), 5)])
})

test('groups that do not divide the experts are refused', () => {
  const [layer] = decided().layers
  expect(() => deviceBalanceLoss(layer!, 3)).toThrow(
    'losses.deviceBalance.groups: must divide the 4 experts, got 3',
  )
})

test('the z-loss is summed over layers, or their mean', () => {
  const decisions = decided()
  const of = (z: object | number): number => named({ balance: 'none', z }, decisions)[0]?.[2] ?? 0
  expect(of({ coefficient: 1, layers: 'mean' })).toBeCloseTo(of(1) / 2, 6)
})
