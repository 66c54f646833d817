// Spans of noise as T5 draws them.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { corruptSpans, spanCounts } from './span-corruption.ts'

const settings = { density: 0.15, meanLength: 3 }
const marks = { sentinels: [900, 901, 902, 903, 904, 905, 906, 907, 908, 909], end: 1 }

test('by hand: 10 tokens, 3 of noise in 2 spans', () => {
  const ids = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
  const draws = ids.map((_, i) => [i === 3 ? 0 : 0.5, i === 1 ? 0 : 0.5]) // borders after the 4th of 7 and the 2nd of 3
  expect(corruptSpans(ids, draws, { density: 0.3, meanLength: 1.5 }, marks)).toEqual({
    source: [10, 11, 12, 13, 900, 16, 17, 18, 901, 1],
    target: [900, 14, 15, 901, 19, 1],
  })
})

test('as many tokens and spans as the rates say: T5 with 512', () => {
  expect(spanCounts(512, settings)).toEqual({ noise: 77, spans: 26 })
  expect(spanCounts(2, settings)).toEqual({ noise: 1, spans: 1 })
})

test('source and target together are the text, at any length and rate', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 60 }).chain(length =>
        fc.tuple(
          fc.array(fc.integer({ min: 2, max: 800 }), { minLength: length, maxLength: length }),
          fc.array(
            fc.tuple(
              fc.double({ min: 0, max: 0.999, noNaN: true }),
              fc.double({ min: 0, max: 0.999, noNaN: true }),
            ),
            {
              minLength: length,
              maxLength: length,
            },
          ),
        ),
      ),
      ([ids, draws]) => {
        const { source, target } = corruptSpans(ids, draws, settings, marks)
        const { noise, spans } = spanCounts(ids.length, settings)
        const isSentinel = (id: number): boolean => id >= 900
        const sentinels = marks.sentinels.slice(0, spans)
        expect(source.filter(isSentinel)).toEqual(sentinels)
        expect(target.filter(isSentinel)).toEqual(sentinels)
        expect(target.length).toBe(noise + spans + 1)
        // Filling each sentinel with its span gives the text.
        const filled = source.slice(0, -1).flatMap(id => {
          if (!isSentinel(id)) return [id]
          const from = target.indexOf(id) + 1
          const next = target.findIndex(
            (other, at) => at >= from && (isSentinel(other) || at === target.length - 1),
          )
          return target.slice(from, next)
        })
        expect(filled).toEqual(ids)
      },
    ),
  )
})

test('all ways to cut are equally likely', () => {
  // 4 tokens of which 2 are noise, in 1 or 2 spans: of 2 spans, each of 1, there is one way; of mean 2, one span at the end.
  const one = corruptSpans(
    [10, 11, 12, 13],
    [
      [0.1, 0.2],
      [0.3, 0.4],
      [0, 0],
      [0, 0],
    ],
    { density: 0.5, meanLength: 1 },
    marks,
  )
  expect(one).toEqual({ source: [10, 900, 12, 901, 1], target: [900, 11, 901, 13, 1] })
  // 6 of which 3 are text in 2 spans: borders after 1 or 2, as the smaller draw says.
  const cut = (first: number, second: number): readonly number[] => {
    const draws = [
      [first, first],
      [second, second],
      [0, 0],
      [0, 0],
      [0, 0],
      [0, 0],
    ]
    return corruptSpans([10, 11, 12, 13, 14, 15], draws, { density: 0.5, meanLength: 1.5 }, marks).target
  }
  expect(cut(0.1, 0.2)).toEqual([900, 11, 901, 14, 15, 1])
  expect(cut(0.2, 0.1)).toEqual([900, 12, 13, 901, 15, 1])
})
