import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DomainSampler } from './domain-sampler.ts'

const windows = [[0, 3, 6, 9, 12], [1, 2], [], [4, 5, 7, 8, 10, 11]]
const growing = (draw: number): number[] => [1, draw / 100, 0, 0]

test('resume continues exactly, also when weights change on the way', () => {
  fc.assert(
    fc.property(fc.nat(200), fc.nat(100), fc.nat(), (before, after, seed) => {
      const make = (): DomainSampler => new DomainSampler({ windows, weightsAt: growing, seed })
      const whole = make()
      whole.take(before)
      const resumed = make()
      resumed.restore(JSON.parse(JSON.stringify(whole.state)))
      expect(resumed.take(after)).toEqual(whole.take(after))
      expect(resumed.state).toEqual(whole.state)
    }),
  )
})

test('domains come as often as they weigh, windows of each as often as the others', () => {
  const [draws, weights] = [6000, [1, 2, 0, 3]]
  const sampler = new DomainSampler({ windows, weightsAt: () => weights, seed: 7 })
  const taken = sampler.take(draws)
  for (const [domain, members] of windows.entries()) {
    const counts = members.map(window => taken.filter(each => each === window).length)
    const share = (weights[domain] as number) / 6
    const total = counts.reduce((sum, count) => sum + count, 0)
    // Four standard deviations of a binomial; the seed is fixed.
    expect(Math.abs(total - draws * share)).toBeLessThanOrEqual(4 * Math.sqrt(draws * share * (1 - share)))
    if (members.length > 0) expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
  }
})

test('a domain that begins to count comes only from then on', () => {
  const weightsAt = (draw: number): number[] => (draw < 50 ? [1, 0, 0, 0] : [0, 1, 0, 0])
  const sampler = new DomainSampler({ windows, weightsAt, seed: 1 })
  expect(new Set(sampler.take(50))).toEqual(new Set(windows[0]))
  expect(new Set(sampler.take(50))).toEqual(new Set(windows[1]))
})
