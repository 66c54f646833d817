// What outlives a store: counts of uses, the experts that they bring back, and files of counts that are of no use.
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import { type CausalLM, Generation, openSource, writeModelFolder } from '../../models/index.ts'
import { type PolicyConfig, policyNames } from '../cache/table.ts'
import { ExpertUses, identityOf, readUses, writeUses } from './expert-uses.ts'
import { TieredModel } from './open.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-warm-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const folder = join(scratch, 'olmoe')
writeModelFolder(
  folder,
  openSource(fileURLToPath(new URL('../../../tests/fixtures/olmoe', import.meta.url))),
  { dtype: 'f32' },
)

function write(model: CausalLM): unknown[] {
  const options = { temperature: 1, seed: 2, maxNewTokens: 30, stopIds: [], logprobs: 0 }
  using generation = new Generation(model, [[5, 6, 7]], options)
  const written: unknown[] = []
  while (!generation.isOver) written.push(...generation.step())
  return written
}

describe('a store that goes on from the counts of another', () => {
  using first = new TieredModel(openSource(folder))
  const { bytes } = first.keepExperts(Number.MAX_SAFE_INTEGER)
  const wanted = write(first.model)
  const { uses } = first.store

  test.each(policyNames.filter(kind => kind !== 'static'))('writes the same, with %s', kind => {
    const policy = { kind, ...(kind === 'random' && { seed: 1 }) } as PolicyConfig
    for (const share of [0, 0.4, 1])
      expectNoLeak(() => {
        using tiered = new TieredModel(openSource(folder))
        tiered.keepExperts(share * bytes, { policy })
        tiered.store.recall(uses)
        expect(write(tiered.model)).toEqual(wanted)
      })
  })

  test('misses nothing that fits', () => {
    using tiered = new TieredModel(openSource(folder))
    const store = tiered.keepExperts(bytes)
    store.recall(uses)
    write(tiered.model)
    expect(store.counts.hits).toBe(store.counts.uses)
    expect(store.uses.some((count, i) => count > (uses[i] as number))).toBe(true)
  })

  test('has the most used first', () => {
    using tiered = new TieredModel(openSource(folder))
    const store = tiered.keepExperts(bytes / 4)
    expect(store.capacity).toBe(4)
    store.recall(Array.from({ length: store.total }, (_, number) => (5 * number) % 8)) // 7 of 3 and 11, 6 of 6 and 14
    for (const [layer, needed] of [
      [0, [3, 6]],
      [1, [3, 6]],
    ] as const)
      expect([...store.bring(layer, needed)].flatMap(({ places }) => [...places.keys()])).toEqual(needed)
    expect(store.counts.totals).toMatchObject({ uses: 4, hits: 4 })
  })

  test('refuses counts of other experts', () => {
    using tiered = new TieredModel(openSource(folder))
    const store = tiered.keepExperts(bytes)
    expect(() => store.recall([1, 2])).toThrow('uses: 2 counts for 16 experts')
  })
})

test('counts fade: half of them are left 64 passes later', () => {
  const uses = new ExpertUses({ layers: 2, experts: 2 })
  for (let pass = 0; pass < 3; pass++) uses.note({ now: 2 * pass + 1, needed: [3] })
  expect(uses.counts).toEqual([0, 0, 0, 3])
  uses.note({ now: 2 * 64, needed: [0] })
  expect(uses.counts).toEqual([1, 0, 0, 1.5])
  uses.note({ now: 2 * 64 * 3, needed: [] })
  expect(uses.counts).toEqual([0.25, 0, 0, 0.375])
})

describe('a file of counts', () => {
  const model = identityOf(openSource(folder))
  const file = join(scratch, 'uses.json')

  test('is read as it was written', () => {
    writeUses(file, model, [3, 0.12345, 0])
    expect(readUses(file, model, 3)).toEqual({ uses: [3, 0.123, 0] })
    expect(readUses(join(scratch, 'none'), model, 3)).toEqual({})
  })

  test.each([
    ['no JSON', 'x', /^holds no counts of experts$/],
    [
      'another version',
      JSON.stringify({ version: 2, model, uses: [1] }),
      /^holds no counts of experts: version /,
    ],
    [
      'a count below zero',
      JSON.stringify({ version: 1, model, uses: [-1] }),
      /^holds no counts of experts: uses\.0 /,
    ],
    [
      'another number of experts',
      JSON.stringify({ version: 1, model, uses: [1] }),
      /^holds counts of 1 experts, not 3$/,
    ],
    [
      'another model',
      JSON.stringify({ version: 1, model: 'x', uses: [1, 2, 3] }),
      /^is of files that have changed since$/,
    ],
  ])('with %s is of no use, and says why', (_, content, problem) => {
    writeFileSync(file, content)
    const read = readUses(file, model, 3)
    expect(read.uses).toBeUndefined()
    expect(read.problem).toMatch(problem)
  })

  test('with any bytes changed is read, or of no use', () => {
    writeUses(file, model, [3, 2, 1])
    const bytes = readFileSync(file)
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
        const copy = Buffer.from(bytes)
        copy[at] = value
        writeFileSync(file, copy)
        const { uses, problem } = readUses(file, model, 3)
        expect(uses === undefined).toBe(problem !== undefined)
      }),
      { numRuns: 100 },
    )
  })

  test('is of no use to files that were written since', () => {
    utimesSync(join(folder, 'model.safetensors'), 1, 1)
    expect(identityOf(openSource(folder))).not.toBe(model)
  })
})
