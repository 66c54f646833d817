import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { uniformSource } from './random.ts'
import { checkSampling, type SamplingOptions, sampleToken } from './sampling.ts'
import { StopTexts } from './stop-texts.ts'

/** How often each of four tokens with probabilities 0.4, 0.3, 0.2, 0.1 is drawn. */
function shares(options: SamplingOptions, history: number[] = [], draws = 20_000): number[] {
  const uniform = uniformSource(1)
  const checked = checkSampling(options)
  const counts = [0, 0, 0, 0]
  for (let i = 0; i < draws; i++) {
    const logits = Float64Array.from([0.4, 0.3, 0.2, 0.1], Math.log)
    const id = sampleToken(logits, { prompt: history, written: [] }, checked, uniform)
    counts[id] = (counts[id] ?? 0) + 1
  }
  return counts.map(count => count / draws)
}

/** Five standard deviations of a share of 20,000 draws are at most 0.018. */
function expectShares(actual: number[], wanted: number[]): void {
  for (const [i, share] of actual.entries()) expect(Math.abs(share - (wanted[i] ?? 0))).toBeLessThan(0.018)
}

describe('sampleToken', () => {
  test('draws by probability', () => expectShares(shares({}), [0.4, 0.3, 0.2, 0.1]))

  test('temperature sharpens: at 1/2, probabilities are squared', () => {
    expectShares(
      shares({ temperature: 0.5 }),
      [0.16, 0.09, 0.04, 0.01].map(p => p / 0.3),
    )
  })

  test('temperature 0 takes the likeliest, the first of equals', () => {
    expect(shares({ temperature: 0 }, [], 10)).toEqual([1, 0, 0, 0])
    expect(
      sampleToken(
        Float32Array.of(1, 3, 3),
        { prompt: [], written: [] },
        checkSampling({ temperature: 0 }),
        () => 0,
      ),
    ).toBe(1)
  })

  test('top-k keeps the k likeliest', () => expectShares(shares({ topK: 2 }), [4 / 7, 3 / 7, 0, 0]))

  test('top-p keeps the fewest that reach p', () => {
    expectShares(shares({ topP: 0.65 }), [4 / 7, 3 / 7, 0, 0])
    expectShares(shares({ topP: 0.75 }), [4 / 9, 3 / 9, 2 / 9, 0])
    expect(shares({ topP: 0.01 }, [], 10)).toEqual([1, 0, 0, 0])
  })

  test('top-p counts within what top-k left', () => {
    expectShares(shares({ topK: 2, topP: 0.5 }), [1, 0, 0, 0]) // 0.4 of 0.7 is more than half
  })

  test('min-p drops what is less likely than p times the likeliest', () => {
    expectShares(shares({ minP: 0.6 }), [4 / 7, 3 / 7, 0, 0])
  })

  test('typical keeps what is about as surprising as the average', () => {
    // H = 1.2799; surprises 0.9163, 1.2040, 1.6094, 2.3026: nearest first 0.3, 0.2, 0.4 (0.0759, 0.3295, 0.3636 off), 0.1.
    expect(shares({ typical: 0.25 }, [], 10)).toEqual([0, 1, 0, 0])
    expectShares(shares({ typical: 0.45 }), [0, 0.6, 0.4, 0])
    expectShares(shares({ typical: 0.7 }), [4 / 9, 3 / 9, 2 / 9, 0])
    // Of what top-k left, 4/7 and 3/7, H = 0.6829: 0.5596 is nearer than 0.8473.
    expect(shares({ topK: 2, typical: 0.5 }, [], 10)).toEqual([1, 0, 0, 0])
  })

  test('a repetition penalty makes tokens that occurred less likely, whatever their sign', () => {
    const penalized = shares({ repetitionPenalty: 2 }, [0])
    expectShares(
      penalized,
      [0.16, 0.3, 0.2, 0.1].map(p => p / 0.76),
    ) // log 0.4 is negative: doubled
    const logits = Float64Array.of(2, 1.5)
    expect(
      sampleToken(
        logits,
        { prompt: [0], written: [] },
        checkSampling({ repetitionPenalty: 2, temperature: 0 }),
        () => 0,
      ),
    ).toBe(1)
  })

  test.each([
    [{ temperature: -1 }, 'temperature: must be at least 0, got -1'],
    [{ topK: 1.5 }, 'topK: must be a whole number, 0 for all, got 1.5'],
    [{ topP: 0 }, 'topP: must be above 0 and at most 1, got 0'],
    [{ minP: 2 }, 'minP: must be between 0 and 1, got 2'],
    [{ typical: 1.1 }, 'typical: must be above 0 and at most 1, got 1.1'],
    [{ repetitionPenalty: 0 }, 'repetitionPenalty: must be above 0, got 0'],
    [{ temperature: Number.NaN }, 'temperature: must be at least 0, got NaN'],
  ])('%o is refused', (options, message) => expect(() => checkSampling(options)).toThrow(message))

  test('property: whatever the filters, a token that may be drawn is drawn', () => {
    const logits = fc.array(fc.float({ min: -50, max: 50, noNaN: true }), { minLength: 1, maxLength: 20 })
    const options = fc.record({
      topK: fc.nat(5),
      topP: fc.double({ min: 0.01, max: 1 }),
      minP: fc.double({ min: 0, max: 1 }),
      typical: fc.double({ min: 0.01, max: 1 }),
    })
    fc.assert(
      fc.property(logits, options, fc.double({ min: 0, max: 1, maxExcluded: true }), (values, filters, u) => {
        if (Number.isNaN(u + filters.topP + filters.minP + filters.typical)) return
        const id = sampleToken(
          Float32Array.from(values),
          { prompt: [], written: [] },
          checkSampling(filters),
          () => u,
        )
        expect(id).toBeGreaterThanOrEqual(0)
        expect(id).toBeLessThan(values.length)
      }),
    )
  })
})

test('uniformSource fills [0, 1) evenly and repeats under its seed', () => {
  const [a, b, c] = [uniformSource(7), uniformSource(7), uniformSource(8)]
  const values = Array.from({ length: 10_000 }, () => a())
  expect(values).toEqual(Array.from({ length: 10_000 }, () => b()))
  expect(values[0]).not.toBe(c())
  const bins = new Array(10).fill(0)
  for (const value of values) bins[Math.floor(value * 10)]++
  for (const count of bins) expect(Math.abs(count - 1000)).toBeLessThan(150) // 5 standard deviations of a bin
})

describe('StopTexts', () => {
  function through(stops: string[], pieces: string[]): { shown: string; reached: boolean } {
    const filter = new StopTexts(stops)
    const shown = pieces.map(piece => filter.push(piece)).join('')
    return { shown: shown + filter.flush(), reached: filter.found !== null }
  }

  test('says which one it found: the one that begins first', () => {
    const filter = new StopTexts(['world', 'o w'])
    expect(filter.push('hello wor')).toBe('hell')
    expect(filter.found).toBe('o w')
  })

  test('ends before a stop text, wherever pieces are cut', () => {
    for (let cut = 0; cut <= 11; cut++) {
      expect(through(['STOP'], ['hello STOP more'.slice(0, cut), 'hello STOP more'.slice(cut)])).toEqual({
        shown: 'hello ',
        reached: true,
      })
    }
  })

  test('gives back what only began like one', () => {
    expect(through(['</s>'], ['a <', '/', 'b'])).toEqual({ shown: 'a </b', reached: false })
    expect(through(['xyz'], ['ends in xy'])).toEqual({ shown: 'ends in xy', reached: false })
  })

  test('the earliest of several counts', () => {
    expect(through(['b', 'abc'], ['..abc'])).toEqual({ shown: '..', reached: true })
  })

  test('without stop texts everything passes', () => {
    expect(through(['', ''], ['a', 'b'])).toEqual({ shown: 'ab', reached: false })
  })
})
