// Guesses one by one: what routers, hints and their files say. History is in simulate.test.ts, with the replays it is for.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import type { Router, TokenRouting } from '../../moe/index.ts'
import { tensor, zeros } from '../../torch/index.ts'
import { LruPolicy } from '../cache/lru.ts'
import { replay } from '../simulate/replay.ts'
import { emptySlot, type RoutingChoices, type Step, stepsOf } from '../trace/choices.ts'
import { areHints, hintsOf, readHints, writeHints } from './hint-table.ts'
import { HintsPrefetcher } from './hints.ts'
import type { ModelSight } from './prefetcher.ts'
import { RouterPrefetcher } from './router.ts'
import { createPrefetcher } from './table.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-prefetch-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const stepIn = (layer: number, ids: readonly number[] = [1], needs = 4): Step => ({
  ...{
    ids,
    layer,
    now: layer,
    needed: Array.from({ length: needs }, (_, expert) => 8 * layer + expert),
    begins: false,
  },
})

describe('by routers', () => {
  /** Chooses what it is told, [T, K]. */
  const fixed = (choices: readonly (readonly number[])[]): Router => ({
    ...{ numExperts: 8, active: 2, isCausal: true },
    forward: x => {
      expect(x.shape).toEqual([choices.length, 4])
      const indices = tensor(Int32Array.from(choices.flat())).long().view([choices.length, 2])
      return { kind: 'token', indices } as unknown as TokenRouting
    },
  })
  const grid = { layers: 3, experts: 8 }

  test('the next ones are asked, and first choices of all tokens go first', () => {
    expectNoLeak(() => {
      const gates = [
        [],
        [
          [3, 5],
          [5, 6],
        ],
        [
          [7, -1],
          [0, 1],
        ],
      ].map(fixed)
      const model: ModelSight = { gates, input: { x: zeros([2, 4]), context: {} } }
      const [one, two] = [new RouterPrefetcher(grid, model), new RouterPrefetcher(grid, model, 2)]
      expect(one.predict(stepIn(0))).toEqual([8 + 3, 8 + 5, 8 + 6])
      expect(two.predict(stepIn(0))).toEqual([8 + 3, 8 + 5, 8 + 6, 16 + 7, 16 + 0, 16 + 1])
      expect(two.predict(stepIn(1))).toEqual([16 + 7, 16 + 0, 16 + 1])
      expect(two.predict(stepIn(2))).toEqual([])
      expect(two.predict(stepIn(0, [1], 2))).toEqual([8 + 3, 8 + 5, 16 + 7, 16 + 0]) // a layer that serves fewer
    })
  })

  test('nothing is said between layers, and a recording has none', () => {
    const model: ModelSight = { gates: [], input: null }
    expect(new RouterPrefetcher(grid, model).predict(stepIn(0))).toEqual([])
    expect(() => createPrefetcher({ kind: 'router' }, { grid, topK: 2, model: null })).toThrow(
      "prefetch: 'router' asks a running model, and a recording has none; take history or hints",
    )
    expect(createPrefetcher({ kind: 'off' }, { grid, topK: 2, model })).toBeNull()
  })
})

/** Token, and its two experts in each of two layers. */
function choicesOf(tokens: readonly (readonly [id: number, ...slots: number[]])[]): RoutingChoices {
  return {
    ...{ layers: 2, experts: 8, topK: 2 },
    ids: Uint32Array.from(tokens, ([id]) => id),
    positions: Uint32Array.from(tokens, (_, t) => t),
    chosen: Uint16Array.from(tokens.flatMap(([, ...slots]) => slots)),
  }
}

describe('by hints', () => {
  const choices = choicesOf([
    [9, 0, 1, 4, 5],
    [9, 0, 2, 4, 5],
    [9, 0, 1, 4, emptySlot],
    [7, 3, 2, 6, 7],
  ])

  test('a hint is the smallest set that covers a share, and no more than a token chooses', () => {
    // Of token 9: expert 0 thrice, 1 twice and 2 once; 4 thrice and 5 twice.
    expect(hintsOf(choices, 'm', 0.5).hints.get(9)).toEqual([[0], [4]])
    expect(hintsOf(choices, 'm', 0.6).hints.get(9)).toEqual([[0, 1], [4]])
    expect(hintsOf(choices, 'm', 1).hints.get(9)).toEqual([
      [0, 1],
      [4, 5],
    ])
    expect(hintsOf(choices, 'm').hints.get(7)).toEqual([
      [2, 3],
      [6, 7],
    ])
  })

  test('tokens that go in step have theirs together; of others nothing is known', () => {
    const hints = new HintsPrefetcher(hintsOf(choices, 'm'))
    expect(hints.predict(stepIn(0, [9, 7, 9]))).toEqual([8 + 4, 8 + 5, 8 + 6, 8 + 7])
    expect(hints.predict(stepIn(0, [1]))).toEqual([])
    expect(hints.predict(stepIn(1, [9]))).toEqual([])
  })

  test('a replay knows them, and where tokens decide everything misses nothing in the second layer', () => {
    const byToken = Array.from({ length: 40 }, (_, t) => {
      const id = (t * t) % 11
      return [id, id % 8, (id + 1) % 8, (3 * id) % 8, (3 * id + 1) % 8] as const
    })
    const all = choicesOf(byToken)
    const plan = { kind: 'layer', capacity: 2 } as const
    const { uses, hits, useful, wasted } = replay(
      ...([stepsOf(all), all, plan, new LruPolicy(), new HintsPrefetcher(hintsOf(all, 'm'))] as const),
    )
    const alone = replay(stepsOf(all), all, plan, new LruPolicy())
    expect(wasted).toBe(0)
    expect(useful).toBe(hits - alone.hits)
    expect(uses - hits).toBeLessThanOrEqual(uses / 2)
  })
})

describe('a file of hints', () => {
  const table = hintsOf(choicesOf([[9, 0, 1, 4, 5]]), 'a model')
  const grid = { layers: 2, experts: 8 }
  const file = join(scratch, 'hints')
  const json = (changes: object): string =>
    JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...changes })

  test('is read as it was written', () => {
    writeHints(file, table)
    expect(readHints(file, grid)).toEqual(table)
    expect(areHints(file)).toBe(true)
    expect(areHints(scratch)).toBe(false)
  })

  test.each([
    ['no JSON', () => '[', /^FormatError holds no hints; make them with 'switchyard hints'$/],
    [
      'another version',
      () => json({ version: 2 }),
      /^FormatError holds no hints; .*: version must be one of 1, got 2$/,
    ],
    [
      'a name that a terminal would obey',
      () => json({ model: '\u001b' }),
      /^FormatError holds no hints; .*: model /,
    ],
    ['words for tokens', () => json({ hints: { a: [] } }), /^FormatError holds no hints; .*: hints/],
    [
      'too few layers of a token',
      () => json({ hints: { 9: [[1]] } }),
      /^FormatError token 9 names layers or experts that/,
    ],
    [
      'an expert beyond the last',
      () => json({ hints: { 9: [[1], [8]] } }),
      /^FormatError token 9 names layers or exp/,
    ],
    [
      'another model',
      () => json({ experts: 9 }),
      /^ConfigError are for 2 layers of 9 experts, and the model has 2 of 8/,
    ],
  ] as [string, () => string, RegExp][])('with %s is refused in a line', (_, content, message) => {
    writeHints(file, table)
    writeFileSync(file, content())
    expect(problemOf()).toMatch(message)
  })

  test('with any bytes changed is read, or refused by its name', () => {
    writeHints(file, table)
    const bytes = readFileSync(file)
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
        const copy = Buffer.from(bytes)
        copy[at] = value
        writeFileSync(file, copy)
        expect(problemOf()).toMatch(/^(read|(FormatError|ConfigError) [^\n]+)$/)
      }),
      { numRuns: 200 },
    )
  })

  test('that is not there says so', () => {
    expect(() => readHints(join(scratch, 'none'), grid)).toThrow(/none: cannot be opened \(ENOENT\)/)
  })

  function problemOf(): string {
    try {
      readHints(file, grid)
      return 'read'
    } catch (error) {
      const { name, message } = error as Error
      return `${name} ${message.replace(`${file}: `, '')}`
    }
  }
})
