import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../errors.ts'
import { WindowSampler } from './window-sampler.ts'

const sorted = (list: number[]): number[] => list.toSorted((a, b) => a - b)

describe('WindowSampler', () => {
  test('each epoch visits every window once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.integer(), (windows, seed) => {
        const sampler = new WindowSampler({ windows, seed })
        const all = Array.from({ length: windows }, (_, i) => i)
        for (let epoch = 0; epoch < 3; epoch++) expect(sorted(sampler.take(windows))).toEqual(all)
      }),
    )
  })

  test('resume continues exactly, whatever was taken before', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 0, max: 200 }),
        fc.integer({ min: 1, max: 200 }),
        (windows, before, after) => {
          const whole = new WindowSampler({ windows, seed: 5 })
          whole.take(before)
          const resumed = new WindowSampler({ windows, seed: 5 })
          resumed.restore(JSON.parse(JSON.stringify(whole.state)))
          expect(resumed.take(after)).toEqual(whole.take(after))
          expect(resumed.state).toEqual(whole.state)
        },
      ),
    )
  })

  test('the same seed repeats, different seeds and epochs differ', () => {
    const order = (seed: number): number[] => new WindowSampler({ windows: 100, seed }).take(200)
    expect(order(1)).toEqual(order(1))
    expect(order(1)).not.toEqual(order(2))
    expect(order(1).slice(0, 100)).not.toEqual(order(1).slice(100))
  })

  test('batches of any size give the same order', () => {
    const one = new WindowSampler({ windows: 10, seed: 1 })
    const other = new WindowSampler({ windows: 10, seed: 1 })
    expect([...one.take(3), ...one.take(9), ...one.take(1)]).toEqual(other.take(13))
  })

  test('no windows and impossible states are refused', () => {
    expect(() => new WindowSampler({ windows: 0, seed: 1 })).toThrow(/windows: must be at least 1, got 0/)
    const sampler = new WindowSampler({ windows: 10, seed: 1 })
    for (const state of [
      { epoch: 0, position: 11 },
      { epoch: -1, position: 0 },
      { epoch: 0, position: 1.5 },
    ]) {
      expect(() => sampler.restore(state)).toThrow(ConfigError)
    }
  })
})
