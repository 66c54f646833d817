import { expect, test } from 'vitest'
import { type DomainWeights, windowOrder } from './window-order.ts'

const text = { count: 6, firstDomain: (window: number): number => window % 2 }
const order = (weights?: DomainWeights): ReturnType<typeof windowOrder> =>
  windowOrder(text, { domains: ['prose', 'code', 'logs'], weights, windowsPerStep: 2, seed: 1 })

test('without weights every window comes once before any comes again', () => {
  expect(order().take(6).sort()).toEqual([0, 1, 2, 3, 4, 5])
})

test('weights change over steps, and stay as they ended', () => {
  const weights = { prose: { from: 1, to: 0, over: 1 }, code: { from: 0, to: 3, over: 1 }, logs: 0 }
  const taken = order(weights).take(8)
  expect(taken.map(window => window % 2)).toEqual([0, 0, 1, 1, 1, 1, 1, 1])
})

test.each<[DomainWeights, RegExp]>([
  [
    { prose: 1, code: 1 },
    /^data\.weights\.logs: is missing, a domain of the corpus: give it a weight, or 0$/,
  ],
  [{ prose: 1, code: 1, logs: 2 }, /^data\.weights\.logs: 2 for a domain with no window/],
  [
    { prose: 1, code: 1, logs: 0, lyrics: 1 },
    /^data\.weights\.lyrics: no domain of the corpus, which has prose, code, logs$/,
  ],
  [{ prose: 0, code: 0, logs: 0 }, /^data\.weights: all are 0 at step 0/],
  [{ prose: { from: 1, to: 0, over: 5 }, code: 0, logs: 0 }, /^data\.weights: all are 0 at step 5/],
])('%j is refused', (weights, message) => {
  expect(() => order(weights)).toThrow(message)
})
