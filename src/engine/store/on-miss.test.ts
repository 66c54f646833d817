// What becomes of experts that are not in memory, where they are not waited for.
import { appendFileSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { fixture, quantized } from '../../../tests/support/tiered-files.ts'
import {
  type CausalLM,
  dequantize,
  Generation,
  openSource,
  quantize,
  tokensOfSequences,
} from '../../models/index.ts'
import { computeSteadily, layersOfChoice } from '../../moe/index.ts'
import { PagedCache } from '../../nn/index.ts'
import { arange, encodedRows, inferenceMode, type Tensor, tidy } from '../../torch/index.ts'
import type { ExpertStore } from './expert-store.ts'
import type { OnMiss } from './on-miss.ts'
import { loadTiered, TieredModel } from './open.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-miss-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const prompt = [5, 6, 7, 8, 9, 10, 11, 12]
const all = Number.MAX_SAFE_INTEGER

/** A greedy text; `onPrompt` is called when the prompt was read. */
function write(model: CausalLM, newTokens: number, onPrompt: () => void = () => undefined): number[] {
  using generation = new Generation(model, [prompt], { temperature: 0, maxNewTokens: newTokens, stopIds: [] })
  const ids: number[] = []
  while (!generation.isOver) {
    ids.push(...generation.step().map(({ id }) => id))
    if (ids.length === 1) onPrompt()
  }
  return ids
}

const misses = ({ counts }: ExpertStore): number => counts.uses - counts.hits

test('places without a text change nothing: decoding is one token of each text that there is', () => {
  using tiered = new TieredModel(openSource(quantized('mixtral', 'q8_0', scratch)))
  const full = tiered.keepExperts(all)
  const { bytes, total } = full
  write(tiered.model, 1)
  const layers = full.counts.layers.length
  const places = total - total / layers + 4
  const some = tiered.keepExperts((bytes * places) / total, { onMiss: { kind: 'resident' } })
  using cache = new PagedCache(tiered.model, { sequences: 3, capacity: 128, pageTokens: 128, pages: 3 })
  cache.pages[1]?.push(0)
  const read = (ids: readonly number[]): void =>
    inferenceMode(() =>
      tidy(
        () => void tiered.model.forward(tokensOfSequences([[], ids, []], { past: cache.lengths }), { cache }),
      ),
    )
  read([5, 6, 7]) // as many tokens as places: a prompt all the same
  expect(some.counts.choices).toBe(0)
  for (let id = 8; id < 40; id++) read([id])
  expect(some.counts.choices).toBeGreaterThan(0)
})

test('one text chooses among experts in memory, and another beside it waits for its own', () => {
  using tiered = new TieredModel(openSource(quantized('mixtral', 'q8_0', scratch)))
  computeSteadily(tiered.model)
  const logitsOf = (store: ExpertStore, kinds: ('read' | 'resident' | null)[]): number[][] => {
    using cache = new PagedCache(tiered.model, { sequences: 2, capacity: 128, pageTokens: 128, pages: 2 })
    for (const [i, pages] of cache.pages.entries()) pages.push(i)
    const read = (rows: readonly (readonly number[])[]): number[][] =>
      inferenceMode(() =>
        tidy(() => {
          const tokens = tokensOfSequences(rows, { past: cache.lengths })
          return tiered.model.forward(tokens, { cache, logitsAt: 'last' }).logits.tolist() as number[][]
        }),
      )
    read([
      [5, 6],
      [9, 8, 7],
    ])
    let last: number[][] = []
    for (let id = 10; id < 30; id++) {
      store.letChoose(kinds)
      last = read([[id], [id + 40]])
    }
    return last
  }
  const { bytes, total, counts } = tiered.keepExperts(all)
  const exact = logitsOf(tiered.store, [null, null])
  const places = total - total / counts.layers.length + 4
  for (const [onMiss, kinds] of [
    ['read', ['resident', null]],
    ['resident', [null, 'read']],
  ] as const) {
    const store = tiered.keepExperts((bytes * places) / total, { onMiss: { kind: onMiss } })
    const [first, second] = logitsOf(store, [...kinds])
    expect(second).toEqual(exact[1])
    expect(first).not.toEqual(exact[0])
    expect(store.counts.replaced).toBeGreaterThan(0)
    expect(store.counts.choices).toBe(20 * 2 * counts.layers.length) // of the first text alone, two in each layer
  }
})

describe.each([
  ['mixtral', quantized('mixtral', 'bf16', scratch)],
  ['olmoe', fixture('olmoe')],
  ['deepseek_v3', quantized('deepseek_v3', 'q8_0', scratch)],
  ['gpt_oss', quantized('gpt_oss', 'mxfp4', scratch)],
])('%s', (_, path) => {
  test('chooses among experts in memory: waits for none, and where all fit writes the same', () => {
    expectNoLeak(() => {
      using tiered = new TieredModel(openSource(path))
      const onMiss: OnMiss = { kind: 'resident' }
      const full = tiered.keepExperts(all)
      const { bytes, total } = full
      const wanted = write(tiered.model, 60)
      const whole = tiered.keepExperts(all, { onMiss })
      expect(write(tiered.model, 60)).toEqual(wanted)
      expect(whole.counts.replaced).toBe(0)
      // So many that each layer has enough to choose among, though others have all of theirs, and two are on their way.
      const [layers, topK] = [full.counts.layers.length, layersOfChoice(tiered.model)[0]?.gate.active ?? 0]
      const places = total - total / layers + topK + 2
      const some = tiered.keepExperts((bytes * places) / total, { onMiss })
      let missed = 0
      write(tiered.model, 60, () => {
        missed = misses(some)
      })
      expect(misses(some)).toBe(missed)
      expect(some.counts.replaced).toBeGreaterThan(0)
      expect(some.counts.replaced).toBeLessThan(some.counts.choices)
      expect(some.counts.bytes).toBeLessThanOrEqual((bytes / total) * (missed + some.counts.replaced))
      // And as before, once they are waited for.
      tiered.keepExperts(bytes / 2)
      expect(write(tiered.model, 60)).toEqual(wanted)
    })
  })

  test('where too few are there for a choice, all are: they come to be there', () => {
    using tiered = new TieredModel(openSource(path))
    tiered.keepExperts(all)
    const wanted = write(tiered.model, 12)
    const store = tiered.keepExperts(0, { onMiss: { kind: 'resident' } })
    expect(write(tiered.model, 12)).toEqual(wanted) // one place: never two to choose among
    expect(store.counts).toMatchObject({ replaced: 0 })
  })
})

/** What a store gives of a layer's experts: their first matrices in f32. */
function matricesOf(
  store: ExpertStore,
  layer: number,
  rows: number,
): Map<number, { up: Tensor; isCopy: boolean }> {
  const found = new Map<number, { up: Tensor; isCopy: boolean }>()
  const needed = Array.from({ length: store.total / 2 }, (_, expert) => expert)
  for (const { slots, places } of store.bring(layer, needed))
    for (const [expert, place] of places) {
      const up = encodedRows(slots.up.select(0, place), slots.kind.up.encoding, arange(0, rows)).persist()
      found.set(expert, { up, isCopy: slots.up.size(0) === needed.length })
    }
  return found
}

test('copies are what rounding makes of experts, and stand in for those that are not there', () => {
  using tiered = new TieredModel(openSource(fixture('mixtral'))) // two layers
  const { intermediate_size: width } = tiered.model.config
  const exact = matricesOf(tiered.keepExperts(all), 1, 2 * width)
  const store = tiered.keepExperts(0, { onMiss: { kind: 'copy', type: 'Q4_0' } })
  const got = matricesOf(store, 1, 2 * width)
  expect([...got.keys()].toSorted()).toEqual([...exact.keys()].toSorted())
  let copied = 0
  for (const [expert, { up, isCopy }] of got) {
    const wanted = exact.get(expert)?.up as Tensor
    const rounded = dequantize(quantize(wanted.reshape([-1]), 'Q4_0'), 'Q4_0').view(wanted.shape)
    expectClose(up, isCopy ? rounded : wanted, 0)
    copied += Number(isCopy)
  }
  expect(copied).toBeGreaterThanOrEqual(got.size - 1) // there is one place for all experts of both layers
  expect(store.counts.copied).toBe(copied)
  expect(store.counts.uses).toBe(got.size)
  for (const { up } of [...exact.values(), ...got.values()]) up.dispose()
})

describe('with copies', () => {
  test.each([
    ['mixtral', fixture('mixtral')],
    ['olmoe', quantized('olmoe', 'f16', scratch)],
    ['deepseek_v3', quantized('deepseek_v3', 'q8_0', scratch)],
    ['gpt_oss', quantized('gpt_oss', 'q8_0', scratch)],
  ])('%s waits for no expert, and where all fit writes the same', (_, path) => {
    expectNoLeak(() => {
      using tiered = new TieredModel(openSource(path))
      const onMiss: OnMiss = { kind: 'copy', type: 'Q4_0' }
      const { bytes } = tiered.keepExperts(all)
      const wanted = write(tiered.model, 24)
      const whole = tiered.keepExperts(all, { onMiss })
      expect(write(tiered.model, 24)).toEqual(wanted)
      expect(whole.counts.copied).toBe(0)
      const some = tiered.keepExperts(bytes / 3, { onMiss })
      expect(write(tiered.model, 24)).toHaveLength(24)
      expect(some.counts.copied).toBe(misses(some))
      expect(some.counts.copied).toBeGreaterThan(0)
    })
  })
})

describe('what cannot be is refused', () => {
  const file = quantized('mixtral', 'q8_0', scratch)

  test('in one line', () => {
    using tiered = new TieredModel(openSource(fixture('mixtral')))
    const copies = (type: 'Q4_K' | 'Q8_0') => ({ onMiss: { kind: 'copy', type } }) as const
    expect(() => tiered.keepExperts(0, copies('Q4_K'))).toThrow(
      /^onMiss: q4_k has blocks of 256, and experts' rows have \d+ numbers: take another type$/,
    )
    expect(() => tiered.keepExperts(0, { ...copies('Q8_0'), prefetch: { kind: 'history' } })).toThrow(
      'prefetch: hides the wait for experts, and nobody waits here',
    )
    expect(() => loadTiered(openSource(file), { memory: 1e6, context: 9, ...copies('Q8_0') })).toThrow(
      /^onMiss: copies of \d+ bytes for experts of \d+ save nothing: take fewer bits$/,
    )
    expect(() => loadTiered(openSource(file), { memory: 1e6, context: 9, ...copies('Q4_K') })).toThrow(
      /by copies of experts; the least that works is \d+ MB$/,
    )
  })

  test('a file that changes while experts are read behind ends the text', () => {
    const copy = join(scratch, 'changed.gguf')
    copyFileSync(file, copy)
    using tiered = new TieredModel(openSource(copy))
    tiered.keepExperts(0, { onMiss: { kind: 'copy', type: 'Q4_0' } })
    write(tiered.model, 4)
    appendFileSync(copy, 'x')
    expect(() => write(tiered.model, 24)).toThrow(/changed\.gguf: was changed while the model runs from it/)
  })
})

test('a plan leaves room for copies', () => {
  const source = openSource(quantized('mixtral', 'q8_0', scratch))
  const memory = 2 * process.memoryUsage.rss() + 200e6
  const { tiered, plan } = loadTiered(source, { memory, context: 9, onMiss: { kind: 'copy', type: 'Q4_0' } })
  using _ = tiered
  expect(plan.copies).toBe(0) // so small a model fits without
  // What the process has in memory is part of what is fixed, and changes: it is asked for just before.
  const { fixed, cache, working } = tiered.plan({ memory, context: 9, copies: 'Q4_0' })
  const tight = fixed + cache + working + 0.8 * plan.allExperts
  const { copies, experts } = tiered.plan({ memory: tight, context: 9, copies: 'Q4_0' })
  // Rows of 18 bytes for 34, and no fewer of them: widths are multiples of a panel's 16.
  expect(copies).toBe((plan.allExperts * 18) / 34)
  expect(experts).toBeLessThan(plan.allExperts)
})
