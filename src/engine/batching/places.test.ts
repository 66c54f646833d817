// Which place a text gets, and what it finds there: against the longest common beginning, counted by hand.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ContiguousCache } from '../../nn/index.ts'
import { inPages, Places, pageTokens, sharedPages } from './places.ts'

/** A cache of token ids: what a place has is what was written there. */
class IdCache {
  readonly lengths: number[]
  readonly rows: number[][]
  constructor(sequences: number) {
    this.lengths = new Array<number>(sequences).fill(0)
    this.rows = this.lengths.map(() => [])
  }
  share(from: number, to: number, length: number): void {
    this.rows[to] = (this.rows[from] ?? []).slice(0, length)
    this.lengths[to] = length
  }
}

/** Tokens that agree for so many pages and a bit, and differ then. */
const text = fc
  .tuple(
    fc.integer({ min: 0, max: 3 }),
    fc.integer({ min: 0, max: 2 }),
    fc.integer({ min: 1, max: pageTokens }),
  )
  .map(([pages, kind, rest]) => [
    ...new Array<number>(pages * pageTokens).fill(7),
    ...new Array<number>(rest).fill(kind),
  ])

test('what a place says it keeps is there, and is whole pages that begin the prompt', () =>
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 20 }), prompts => {
      const cache = new IdCache(3)
      const places = new Places(cache as unknown as ContiguousCache)
      const taken: ReturnType<typeof places.take>[] = []
      for (const prompt of prompts) {
        if (!places.hasFree) places.free(taken.shift() as NonNullable<(typeof taken)[0]>)
        const place = places.take(prompt)
        if (!place) throw new Error('there is a free one')
        places.adopt(place, prompt)
        const { sequence, kept } = place
        const best = Math.max(...places.all.map(other => sharedPages(other.kept, prompt)))
        expect(kept.length).toBe(best) // nobody has more of it
        expect(kept).toEqual(prompt.slice(0, inPages(kept.length)))
        expect(kept.length).toBeLessThan(prompt.length)
        expect(cache.rows[sequence]?.slice(0, kept.length)).toEqual(kept)
        expect(cache.lengths[sequence]).toBe(kept.length)
        cache.rows[sequence] = [...prompt]
        cache.lengths[sequence] = prompt.length
        places.keep(place, prompt)
        taken.push(place)
      }
    }),
  ))

test('a conversation that goes on takes its own place, another one the oldest', () => {
  const cache = new IdCache(3)
  const places = new Places(cache as unknown as ContiguousCache)
  const prompts = [1, 2, 3].map(kind => new Array<number>(2 * pageTokens).fill(kind))
  const all = prompts.map(prompt => {
    const place = places.take(prompt)
    if (!place) throw new Error('there is a free one')
    places.keep(place, prompt)
    return place
  })
  expect(places.take([5])).toBeUndefined()
  for (const place of all) places.free(place)
  expect(places.take([...(prompts[1] ?? []), 9])).toBe(all[1])
  expect(places.take([9])).toBe(all[0])
  expect(all[0]?.kept).toEqual([])
  expect(all[1]?.kept.length).toBe(2 * pageTokens)
})
