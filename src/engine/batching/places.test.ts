// Which pages a text gets, and what it finds there: rows of a pretended cache hold the tokens themselves.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { PagedCache } from '../../nn/index.ts'
import { pageTokens } from './pages.ts'
import { type Place, Places, pagesOf, sharedPages } from './places.ts'

class IdCache {
  readonly lengths: number[]
  readonly pages: number[][]
  readonly table: { count: number }
  /** Of each page, what is there. */
  readonly rows: number[][]

  constructor(sequences: number, count: number) {
    this.lengths = new Array<number>(sequences).fill(0)
    this.pages = this.lengths.map(() => [])
    this.table = { count }
    this.rows = Array.from({ length: count }, () => [])
  }

  write(sequence: number, tokens: readonly number[]): void {
    for (const token of tokens) {
      const at = this.lengths[sequence]!
      this.lengths[sequence] = at + 1
      const page = this.pages[sequence]![Math.floor(at / pageTokens)]!
      this.rows[page]![at % pageTokens] = token
    }
  }

  tokensOf(sequence: number): number[] {
    return this.pages[sequence]!.flatMap(page => this.rows[page]!).slice(0, this.lengths[sequence])
  }
}

const placesIn = (cache: IdCache): Places => new Places(cache as unknown as PagedCache)

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

interface Text {
  prompt: number[]
  place: Place
  written: number[]
}

/** Reads all of a prompt, by pages; whether there was room. */
function read(cache: IdCache, places: Places, { prompt, place }: Text): boolean {
  while (cache.lengths[place.sequence]! < prompt.length) {
    const length = cache.lengths[place.sequence]!
    const next = prompt.slice(length, length + pageTokens)
    if (!places.grow(place, next.length)) return false
    cache.write(place.sequence, next)
    places.keep(place, prompt.slice(0, length + next.length))
  }
  return true
}

test('whatever comes and goes, each text finds its own tokens, and no page has two owners', () =>
  fc.assert(
    fc.property(
      fc.array(fc.record({ prompt: text, writes: fc.nat(200), leaves: fc.nat(3) }), { maxLength: 25 }),
      orders => {
        const cache = new IdCache(3, 10)
        const places = placesIn(cache)
        let texts: Text[] = []
        const leave = (gone: Text): void => {
          places.free(gone.place)
          texts = texts.filter(other => other !== gone)
        }
        for (const { prompt, writes, leaves } of orders) {
          if (!places.hasFree) leave(texts[leaves % texts.length]!)
          const fresh: Text = { prompt, place: places.take(prompt), written: [] }
          texts.push(fresh)
          expect(cache.tokensOf(fresh.place.sequence)).toEqual(
            prompt.slice(0, fresh.place.kept.length * pageTokens),
          )
          let goesOn = read(cache, places, fresh)
          for (let i = 0; goesOn && i < writes; i++) {
            goesOn = places.grow(fresh.place, 1)
            if (goesOn) cache.write(fresh.place.sequence, [100 + i])
            if (goesOn) fresh.written.push(100 + i)
          }
          if (!goesOn) leave(fresh)
          const own = texts.flatMap(({ place }) => place.own)
          const kept = new Set(texts.flatMap(({ place }) => place.kept.map(({ page }) => page)))
          expect(new Set([...own, ...kept]).size).toBe(own.length + kept.size)
          expect(places.use).toBeCloseTo((own.length + kept.size) / 10, 10)
          for (const { prompt, place, written } of texts)
            expect(cache.tokensOf(place.sequence)).toEqual([...prompt, ...written])
        }
      },
    ),
  ))

test('a prompt finds the longest beginning that was ever read, while there are pages enough', () =>
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 12 }), prompts => {
      const cache = new IdCache(1, 60)
      const places = placesIn(cache)
      for (const [i, prompt] of prompts.entries()) {
        const place = places.take(prompt)
        const best = Math.max(0, ...prompts.slice(0, i).map(other => sharedPages(other, prompt)))
        expect(place.kept.length * pageTokens).toBe(best)
        read(cache, places, { prompt, place, written: [] })
        places.free(place)
      }
    }),
  ))

const pages = (count: number, token: number): number[] => new Array<number>(count * pageTokens).fill(token)

test('pages that were left longest ago are given up first, and ends before beginnings', () => {
  const cache = new IdCache(1, 5)
  const places = placesIn(cache)
  const visit = (prompt: number[]): number => {
    const place = places.take(prompt)
    const found = place.kept.length
    expect(read(cache, places, { prompt, place, written: [] })).toBe(true)
    places.free(place)
    return found
  }
  const [a, b, c] = [pages(2, 1), pages(2, 2), pages(2, 3)]
  for (const prompt of [a, b]) expect(visit(prompt)).toBe(0) // four pages
  expect(visit(c)).toBe(0) // takes the free one, and the end of a
  expect(visit([...b, 9])).toBe(2) // reads one more page, which is the beginning of a
  expect(visit([...a, 9])).toBe(0)
})

test('two that read the same at once keep it once', () => {
  const cache = new IdCache(2, 4)
  const places = placesIn(cache)
  const prompt = pages(1, 1)
  const both = [places.take(prompt), places.take(prompt)]
  for (const place of both) read(cache, places, { prompt, place, written: [] })
  expect(both.map(({ kept }) => kept.map(({ page }) => page))).toEqual(
    [[3], [3]].map(() => [both[0]!.kept[0]!.page]),
  )
  expect(both[0]!.kept[0]!.users).toBe(2)
  expect(places.use).toBe(1 / 4)
  for (const place of both) places.free(place)
  places.forget()
  expect(places.hasRoom(prompt, 4 * pageTokens, 0)).toBe(true)
  expect(places.hasRoom(prompt, 4 * pageTokens + 1, 0)).toBe(false)
  expect(places.hasRoom(prompt, 3 * pageTokens, 2)).toBe(false)
})

test('tokens take whole pages', () => {
  expect([0, 1, pageTokens, pageTokens + 1].map(pagesOf)).toEqual([0, 1, 1, 2])
})
