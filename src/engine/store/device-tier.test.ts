// Experts on a device above those in host memory. The device is the CPU here, and one whose copies take their time; on CUDA
// the same code has not run.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { writeFloat8Folder, writeMxfp4Folder } from '../../../tests/support/block-folders.ts'
import { SlowQueue } from '../../../tests/support/slow-queue.ts'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { fixture, quantized, widened } from '../../../tests/support/tiered-files.ts'
import {
  type CausalLM,
  Generation,
  openModel,
  openSource,
  tokensOfSequences,
  writeModelFolder,
} from '../../models/index.ts'
import { type CopyMark, type DType, inferenceMode, type Tensor, tidy } from '../../torch/index.ts'
import { createPolicy, policyNames } from '../cache/table.ts'
import type { DeviceDType } from './device-kind.ts'
import { DeviceTier } from './device-tier.ts'
import type { ExpertStore } from './expert-store.ts'
import type { LayerRows } from './layer-rows.ts'
import { loadTiered, type StoreSettings, TieredModel } from './open.ts'
import { planTiered } from './outlook.ts'
import { ExpertSlots } from './slots.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-device-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const all = Number.MAX_SAFE_INTEGER
const prompt = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]

/** What is written, with the log-probabilities of it. */
function write(model: CausalLM): unknown[] {
  const options = { temperature: 0, maxNewTokens: 12, stopIds: [], logprobs: 3 }
  using generation = new Generation(model, [prompt], options)
  const written: unknown[] = []
  while (!generation.isOver) written.push(...generation.step())
  return written
}

const logitsOf = (model: CausalLM): Tensor =>
  inferenceMode(() => tidy(() => model.forward(tokensOfSequences([prompt])).logits.float()))

interface Shares {
  host: number
  device: number
}

/** @param shares bytes for experts in host memory and on the device */
function withTiers<T>(
  path: string,
  dtype: DeviceDType,
  { host, device }: Shares,
  use: (tiered: TieredModel, store: ExpertStore) => T,
  settings: StoreSettings = {},
): T {
  using tiered = new TieredModel(openSource(path), { device: 'cpu', dtype })
  return use(tiered, tiered.keepExperts(host, settings, device))
}

function folderOf(name: string, dtype: 'f32' | 'bf16'): string {
  const folder = join(scratch, `${name}-${dtype}`)
  writeModelFolder(folder, openSource(fixture(name)), { dtype })
  return folder
}

function apart(name: string, write: (from: string, folder: string) => void): string {
  const folder = join(scratch, `${name}-apart`)
  write(widened(name, scratch), folder)
  return folder
}

describe.each([
  ['mixtral', 'f32', 'f32', () => folderOf('mixtral', 'f32')],
  ['olmoe', 'bf16', 'bf16', () => folderOf('olmoe', 'bf16')],
  ['qwen2_moe', 'bf16', 'f32', () => folderOf('qwen2_moe', 'bf16')],
  ['qwen3_moe', 'q8_0', 'f32', () => quantized('qwen3_moe', 'q8_0', scratch)],
  ['deepseek_v3', 'FP8', 'bf16', () => apart('deepseek_v3', writeFloat8Folder)],
  ['gpt_oss', 'MXFP4', 'f32', () => apart('gpt_oss', writeMxfp4Folder)],
] as const)('%s in %s, computed in %s', (_, __, dtype, make) => {
  const path = make()
  const most = withTiers(path, dtype, { host: all, device: all }, ({ model }, { bytes, device }) => ({
    written: write(model),
    host: bytes,
    device: device?.bytes ?? 0,
  }))

  test('writes the same however few experts fit in either memory', () => {
    for (const [host, device] of [
      [1, 0.4],
      [0.4, 0.4],
      [0, 0.7],
      [1, 0],
      [0, 0],
    ] as const)
      expectNoLeak(() =>
        withTiers(
          path,
          dtype,
          { host: host * most.host, device: device * most.device },
          ({ model }, store) => {
            expect(write(model)).toEqual(most.written)
            const [upper, lower] = [store.device?.counts, store.counts]
            // What the device misses, and nothing else, is looked for in host memory; what is not there is read.
            expect(lower.uses).toBe((upper?.uses ?? 0) - (upper?.hits ?? 0))
            expect(upper?.bytes).toBe((lower.uses * most.device) / store.total)
            expect(store.device?.capacity).toBeLessThan(store.total)
            expect(store.device?.bytes).toBeLessThanOrEqual(Math.max(device, 1 / store.total) * most.device)
            expect(upper?.uses).toBeGreaterThan(upper?.hits ?? 0)
          },
        ),
      )
  })

  test('gives what all of the model gives in memory', () => {
    using whole = openModel(path).load({ kind: 'decoder', dtype })
    const wanted = logitsOf(whole)
    const got = withTiers(path, dtype, { host: 0, device: 0.5 * most.device }, ({ model }) => logitsOf(model))
    // Sums in another order: roundings of what is computed in, relative to the largest logit, of two layers.
    const rounding: Partial<Record<DType, number>> = { f32: 2 ** -24, bf16: 2 ** -8 }
    const largest = wanted.abs().max().item()
    expectClose(got, wanted, 16 * (rounding[dtype] ?? 0) * largest)
  })
})

test.each(policyNames.filter(kind => kind !== 'static'))(
  'writes the same, with %s in both memories',
  kind => {
    const path = folderOf('mixtral', 'f32')
    const policy = { kind, ...(kind === 'random' && { seed: 1 }) } as NonNullable<StoreSettings['policy']>
    const most = withTiers(path, 'f32', { host: all, device: all }, ({ model }, { bytes }) => {
      return { written: write(model), bytes }
    })
    const shares = { host: most.bytes / 2, device: most.bytes / 3 }
    withTiers(path, 'f32', shares, ({ model }) => expect(write(model)).toEqual(most.written), { policy })
  },
)

test('what is used on the device counts for the next start', () => {
  withTiers(folderOf('mixtral', 'f32'), 'f32', { host: all, device: all }, ({ model }, store) => {
    write(model)
    expect(store.counts.uses).toBeLessThan(store.device?.counts.uses ?? 0)
    // Each of two layers of two experts per token, in 11 passes: all are counted, wherever they were found.
    expect(store.uses.reduce((sum, uses) => sum + uses, 0)).toBe(store.device?.counts.uses)
  })
})

// --- the tier alone ------------------------------------------------------------------------------------------------

const grid = { layers: 2, experts: 4 }
const matrix = (rows: number, columns: number): LayerRows['up'] => ({
  ...{ encoding: 'F32', isApart: false, isAlternating: false, shape: [rows, columns] },
  ...{ bytes: 4 * rows * columns, rangesOf: () => [] },
})
const rows: LayerRows = { up: matrix(2, 3), down: matrix(3, 1) }
const expertBytes = 4 * (2 * 3 + 3)

/** Host memory that has all experts: every number of one is its own number. */
function hostOf(slots: ExpertSlots): ConstructorParameters<typeof DeviceTier>[1] {
  return (layer, needed) => needed.map(expert => ({ slots, places: new Map([[expert, layer * 4 + expert]]) }))
}

function withTier(capacity: number, use: (tier: DeviceTier, queue: SlowQueue) => void): void {
  const kind = (rows: number, columns: number) => ({ encoding: 'F32', shape: [rows, 4 * columns] }) as const
  const policy = () => createPolicy({ kind: 'lru' }, grid)
  using slots = new ExpertSlots({ up: kind(2, 3), down: kind(3, 1) }, 8, policy())
  for (let number = 0; number < 8; number++)
    for (const stack of [slots.up, slots.down]) stack.select(0, number).viewDtype('f32').fill_(number)
  const queue = new SlowQueue()
  const options = { device: 'cpu', dtype: 'f32', bytes: capacity * expertBytes, experts: 4, queue } as const
  using tier = new DeviceTier([rows, rows], hostOf(slots), { ...options, policy: policy() })
  expect(tier.capacity).toBe(capacity)
  use(tier, queue)
}

const isAll = (matrix: Tensor, number: number): boolean => matrix.eq(number).all().item() === 1

test('property: every expert is there when it is used, whole, on a device whose copies take their time', () => {
  const step = fc.uniqueArray(fc.nat(3), { maxLength: 4 })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step, { maxLength: 8 }), (capacity, steps) => {
      withTier(capacity, tier => {
        for (const [i, needed] of steps.entries())
          tidy(() => {
            const came: number[] = []
            for (const [expert, { up, down }] of tier.bring(i % 2, needed)) {
              expect([up.shape, down.shape]).toEqual([
                [2, 3],
                [3, 1],
              ])
              for (const matrix of [up, down]) expect(isAll(matrix, (i % 2) * 4 + expert)).toBe(true)
              came.push(expert)
            }
            expect(came.toSorted()).toEqual(needed.toSorted())
          })
        expect(tier.counts.uses).toBe(steps.flat().length)
        expect(tier.counts.bytes).toBe((tier.counts.uses - tier.counts.hits) * expertBytes)
      })
    }),
    { numRuns: 60 },
  )
})

test('a place is filled again only behind what was computed from it', () => {
  withTier(2, (tier, queue) =>
    tidy(() => {
      const computed: CopyMark[] = []
      const mark = queue.computed.bind(queue)
      queue.computed = () => {
        const point = mark()
        computed.push(point)
        return point
      }
      for (const needed of [[0], [1], [2], [3]]) for (const _ of tier.bring(0, needed));
      // 2 has the place of 0, and 3 that of 1: two matrices each.
      expect(queue.followed.slice(-4)).toEqual([computed[0], computed[0], computed[1], computed[1]])
      expect(queue.followed.at(-1)).toBe(computed[1])
      expect(queue.followed.at(-3)).toBe(computed[0])
    }),
  )
})

test('the next expert is on its way while one is used, where there is room for both', () => {
  withTier(2, (tier, queue) =>
    tidy(() => {
      let started = 0
      const copy = queue.copy.bind(queue)
      queue.copy = (to, from) => {
        started++
        copy(to, from)
      }
      const counts: number[] = []
      for (const _ of tier.bring(0, [0, 1, 2])) counts.push(started)
      expect(counts).toEqual([4, 6, 6]) // two matrices each
    }),
  )
})

// --- what does not go together -------------------------------------------------------------------------------------

describe('a plan', () => {
  const source = openSource(quantized('olmoe', 'q8_0', scratch))
  const budget = { memory: 1e9, context: 100 }

  test('adds up on the device, where weights, cache and what is computed are', () => {
    const memory = 20e6
    const { plan, onDevice, total } = planTiered(source, { ...budget, device: { dtype: 'bf16', memory } })
    const { fixed, cache, working, experts, allExperts } = plan.device ?? plan
    expect(fixed + cache + working + experts).toBeLessThanOrEqual(memory)
    expect(onDevice).toBe(Math.floor((total * experts) / allExperts))
    expect(plan.cache).toBe(0)
    const inFloats = planTiered(source, { ...budget, device: { dtype: 'f32', memory } }).plan.device
    expect([inFloats?.fixed, inFloats?.cache, inFloats?.allExperts]).toEqual([
      2 * fixed,
      2 * cache,
      2 * allExperts,
    ])
    expect(planTiered(source, budget).plan.device).toBeNull()
  })

  test('says the least that works there', () => {
    const device = { dtype: 'bf16', memory: 1e6 } as const
    expect(() => planTiered(source, { ...budget, device })).toThrow(
      /^deviceMemory: 1 MB are too little: .* the least that works is \d+ MB$/,
    )
  })

  test('is followed', () => {
    const device = { device: 'cpu', memory: 20e6 } as const
    const { tiered, plan } = loadTiered(source, { ...budget, device })
    using _ = tiered
    expect(tiered.store.device?.bytes).toBeLessThanOrEqual(plan.device?.experts ?? 0)
    expect(tiered.model.device).toBe('cpu')
  })
})

test.each([
  [{ prefetch: { kind: 'router' } }, 'prefetch: is for models that compute where experts are read'],
  [{ onMiss: { kind: 'resident' } }, 'onMiss: is for models that compute where experts are read'],
] as const)('%j is refused', (settings, problem) => {
  const device = { device: 'cpu', memory: 1e9 } as const
  const source = openSource(quantized('olmoe', 'q8_0', scratch))
  expect(() => loadTiered(source, { memory: 1e9, context: 100, device, ...settings })).toThrow(problem)
})

test('of a CPU nobody knows how much memory is meant', () => {
  const source = openSource(quantized('olmoe', 'q8_0', scratch))
  expect(() => loadTiered(source, { memory: 1e9, context: 100, device: { device: 'cpu' } })).toThrow(
    'deviceMemory: says nothing of how much memory is meant: give its bytes',
  )
})
