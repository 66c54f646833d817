// Texts with experts read ahead are those without, whatever is guessed, fits or goes; and guesses that cannot be read.
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import {
  type CausalLM,
  createModel,
  type ExpertRows,
  Generation,
  openModel,
  openSource,
  parseModelConfig,
  saveModel,
} from '../../models/index.ts'
import { manualSeed, tidy } from '../../torch/index.ts'
import { LruPolicy } from '../cache/lru.ts'
import type { CachePolicy, ExpertGrid } from '../cache/policy.ts'
import { type PolicyConfig, policyNames } from '../cache/table.ts'
import { hintsOf, writeHints } from '../prefetch/hint-table.ts'
import type { Prefetcher } from '../prefetch/prefetcher.ts'
import type { PrefetchConfig } from '../prefetch/table.ts'
import type { Step } from '../trace/choices.ts'
import { readChoices } from '../trace/read.ts'
import { recordRouting } from '../trace/record.ts'
import { ExpertFiles, type PendingRead } from './expert-files.ts'
import { ExpertStore } from './expert-store.ts'
import type { LayerRows } from './layer-rows.ts'
import { type StoreSettings, TieredModel } from './open.ts'
import type { Pass } from './pass.ts'
import type { ReadAhead } from './read-ahead.ts'
import { RunningModel } from './running-model.ts'
import { alwaysOn, TimedTrial } from './trial.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-ahead-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))

/** A model with layers enough for two to be ahead, random and so large that its texts wander. */
function modelLike(name: string): string {
  const json = JSON.parse(readFileSync(join(fixture(name), 'config.json'), 'utf8'))
  const sizes = { num_hidden_layers: 4, max_position_embeddings: 1024, initializer_range: 0.6 }
  const config = parseModelConfig({ ...json, ...sizes }, name)
  const folder = join(scratch, name)
  manualSeed(3)
  using model = createModel(config)
  saveModel(folder, model, config)
  return folder
}

const prompts = [
  [5, 6, 7, 8, 9, 10, 11, 12],
  [20, 21, 22],
]

/** A text of each prompt, with the probability of each of its tokens, in which any difference shows. */
function write(model: CausalLM, newTokens: number, temperature = 0, texts = prompts): unknown[] {
  const options = { temperature, seed: 5, maxNewTokens: newTokens, stopIds: [], logprobs: 0 }
  using generation = new Generation(model, texts, options)
  const written: unknown[] = []
  while (!generation.isOver) written.push(...generation.step())
  return written
}

function withExperts<T>(
  path: string,
  share: number,
  settings: StoreSettings,
  use: (tiered: TieredModel) => T,
): T {
  using tiered = new TieredModel(openSource(path))
  const { bytes } = tiered.keepExperts(Number.MAX_SAFE_INTEGER)
  const { ahead } = tiered.keepExperts(share * bytes, settings)
  if (ahead) ahead.trial = alwaysOn
  return use(tiered)
}

/** A model, and every way to guess what it needs. */
async function prepared(name: string): Promise<{ folder: string; kinds: PrefetchConfig[] }> {
  const folder = modelLike(name)
  const [trace, file] = [join(scratch, `${name}.trace`), join(scratch, `${name}.hints`)]
  using model = openModel(folder).load({ kind: 'decoder' })
  const ids = Array.from({ length: 300 }, (_, i) => (7 * i * i + i) % 96)
  await recordRouting(model, [[ids]], { file: trace, name })
  writeHints(file, hintsOf(readChoices(trace).choices, name))
  return { folder, kinds: [{ kind: 'router', layers: 2 }, { kind: 'history' }, { kind: 'hints', file }] }
}

test.each(['mixtral', 'qwen3_moe', 'deepseek_v3'])('%s writes 500 tokens as without guesses', async name => {
  const { folder, kinds } = await prepared(name)
  const longText = (model: CausalLM): unknown[] => write(model, 500, 0, [[5, 6, 7]])
  const wanted = withExperts(folder, 1, {}, ({ model }) => longText(model))
  for (const [i, prefetch] of kinds.entries())
    withExperts(folder, [0.2, 0.4, 0.7][i] as number, { prefetch }, ({ model, store }) => {
      expect(longText(model)).toEqual(wanted)
      expect(store.counts.useful).toBeGreaterThan(0)
    })
})

describe('texts are the same at every budget', async () => {
  const { folder, kinds } = await prepared('olmoe')
  const wanted = withExperts(folder, 1, {}, ({ model }) => write(model, 12, 1))

  test.each(policyNames.filter(kind => kind !== 'static'))('with %s', kind => {
    const policy = { kind, ...(kind === 'random' && { seed: 1 }) } as PolicyConfig
    for (const share of [0, 0.3, 0.6, 0.9])
      for (const prefetch of kinds)
        expectNoLeak(() =>
          withExperts(folder, share, { prefetch, policy }, ({ model }) =>
            expect(write(model, 12, 1)).toEqual(wanted),
          ),
        )
  })
})

/** Files of whose experts each is there as soon as somebody has asked for it once. */
class AskedFiles extends ExpertFiles {
  readonly #asked = new Set<string>()

  override start(...read: Parameters<ExpertFiles['start']>): PendingRead {
    const [, , { rows, expert }] = read
    const { file, offset } = rows.rangesOf(expert)[0] as { file: string; offset: number }
    const name = `${file} ${Math.floor(offset / expertBytes)}`
    const hasEnded = (): boolean => {
      const isAnswer = this.#asked.has(name)
      this.#asked.add(name)
      return isAnswer
    }
    return { ...super.start(...read), hasEnded }
  }
}

test('a read that ends while a layer asks what is there leaves no expert out', () => {
  const made = new MadeExperts('asked', { layers: 2, experts: 8 })
  using store = made.store(16, guessing(), { files: new AskedFiles() })
  store.recall(Array.from({ length: 16 }, () => 1)) // all are on their way
  store.beginPass(decoding)
  for (const layer of [0, 1]) {
    const needed = [0, 1, 2, 3, 4, 5, 6, 7]
    const served = [...store.bring(layer, needed)].flatMap(({ places }) => [...places.keys()])
    expect(served.toSorted()).toEqual(needed)
  }
})

/** Experts of made-up files: every byte of one is its number. */
class MadeExperts {
  readonly file: string
  readonly grid: ExpertGrid
  readonly #apart: ReadonlyMap<number, string>

  /** @param apart experts that are in files of their own */
  constructor(name: string, grid: ExpertGrid, apart: readonly number[] = []) {
    this.file = join(scratch, name)
    this.grid = grid
    const numbers = Array.from({ length: grid.layers * grid.experts }, (_, i) => i)
    this.#apart = new Map(apart.map(number => [number, `${this.file}-${number}`]))
    writeFileSync(this.file, Buffer.concat(numbers.map(number => Buffer.alloc(expertBytes, number))))
    for (const [number, file] of this.#apart) writeFileSync(file, Buffer.alloc(expertBytes, number))
  }

  store(
    capacity: number,
    prefetcher: Prefetcher,
    {
      policy = new LruPolicy(),
      files = new ExpertFiles(),
    }: { policy?: CachePolicy; files?: ExpertFiles } = {},
  ): ExpertStore {
    const layers = Array.from({ length: this.grid.layers }, (_, layer) => this.#rows(layer))
    const store = new ExpertStore(layers, {
      ...{ bytes: capacity * expertBytes, experts: this.grid.experts, files },
      ...{ policy, prefetcher },
    })
    if (store.ahead) store.ahead.trial = alwaysOn
    return store
  }

  #rows(layer: number): LayerRows {
    const half = expertBytes / 2
    const rows = (part: number): ExpertRows => ({
      ...{ encoding: 'F32', shape: [rowsOfHalf, half / rowsOfHalf / 4], bytes: half },
      ...{ isApart: false, isAlternating: false },
      rangesOf: expert => {
        const number = layer * this.grid.experts + expert
        const apart = this.#apart.get(number)
        const offset = (apart ? 0 : number * expertBytes) + part * half
        return [{ file: apart ?? this.file, offset, length: half }]
      },
    })
    return { up: rows(0), down: rows(1) }
  }
}

const rowsOfHalf = 16
const expertBytes = 2 * rowsOfHalf * 4 * 8

/** Runs a layer; every expert that it needs must come once, with its own bytes. */
function run(store: ExpertStore, layer: number, needed: readonly number[], experts: number): void {
  const served: number[] = []
  for (const { slots, places } of store.bring(layer, needed))
    for (const [expert, slot] of places)
      tidy(() => {
        for (const stack of [slots.up, slots.down])
          expect(new Set(stack.select(0, slot).contiguous().toTypedArray<'u8'>())).toEqual(
            new Set([layer * experts + expert]),
          )
        served.push(expert)
      })
  expect(served.toSorted((a, b) => a - b)).toEqual(needed.toSorted((a, b) => a - b))
}

const decoding: Pass = { ids: [1], begins: false, isDecoding: true }

/** Guesses what it is given, after the first layer of a pass. */
const guessing = (...numbers: number[]): Prefetcher => ({
  observe() {},
  predict: ({ layer }) => (layer === 0 ? numbers : []),
})

test('whatever is guessed, what is needed comes, and is what it is', () => {
  const grid = { layers: 3, experts: 6 }
  const made = new MadeExperts('any', grid)
  const layerOf = fc.uniqueArray(fc.nat(grid.experts - 1))
  const pass = fc.array(layerOf, { minLength: grid.layers, maxLength: grid.layers })
  const guesses = fc.array(fc.uniqueArray(fc.nat(grid.layers * grid.experts - 1)), { maxLength: 40 })
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 18 }),
      fc.array(pass, { maxLength: 12 }),
      guesses,
      (capacity, passes, all) => {
        const next = all[Symbol.iterator]()
        // Guesses are of later layers.
        const predict = ({ layer }: Step): number[] =>
          (next.next().value ?? []).filter((number: number) => number >= (layer + 1) * grid.experts)
        using store = made.store(capacity, { observe() {}, predict })
        for (const needs of passes) {
          store.beginPass(decoding)
          for (const [layer, needed] of needs.entries()) run(store, layer, needed, grid.experts)
        }
        const { bytes, useful, wasted, uses, hits } = store.counts.totals
        expect(bytes % expertBytes).toBe(0)
        // All that was read was needed when it was, or guessed, and whether in vain is known of all but those still to come.
        const guessed = [...(store.ahead?.guesses ?? [])].length * expertBytes
        expect((uses - hits) * expertBytes + useful + wasted).toBe(bytes - guessed)
        expect(store.capacity).toBe(Math.min(capacity, 18))
      },
    ),
    { numRuns: 60 },
  )
})

describe('a guess', () => {
  const grid = { layers: 2, experts: 4 }

  test('that is right is no miss, and its bytes are useful', () => {
    using store = new MadeExperts('right', grid).store(4, guessing(4 + 1))
    store.beginPass(decoding)
    run(store, 0, [0], 4)
    run(store, 1, [1], 4)
    expect(store.counts.totals).toEqual({
      uses: 2,
      hits: 1,
      bytes: 2 * expertBytes,
      useful: expertBytes,
      wasted: 0,
    })
  })

  test('that is wrong is given up, or its bytes are wasted', () => {
    using store = new MadeExperts('wrong', grid).store(4, guessing(4 + 1))
    store.beginPass(decoding)
    run(store, 0, [0], 4)
    run(store, 1, [2], 4)
    const { bytes, useful, wasted } = store.counts
    expect(useful).toBe(0)
    expect(bytes).toBe(2 * expertBytes + wasted)
  })

  test('is made for no chunk of a prompt', () => {
    using store = new MadeExperts('prompt', grid).store(4, guessing(4 + 1))
    store.beginPass({ ...decoding, isDecoding: false })
    run(store, 0, [0], 4)
    expect(store.ahead?.guesses.size).toBe(0)
  })

  test('takes no place of what the layer uses, or of another guess', () => {
    using store = new MadeExperts('room', grid).store(3, guessing(4, 5, 6))
    store.beginPass(decoding)
    run(store, 0, [0, 1], 4)
    run(store, 1, [], 4)
    store.beginPass(decoding)
    run(store, 0, [0, 1], 4) // both are there still: one place was left for guesses
    expect(store.counts.hits).toBe(2)
  })

  test('whose file was short ends nothing until it is needed, and then the text alone', () => {
    const made = new MadeExperts('short', grid, [4 + 1])
    truncateSync(`${made.file}-5`, 10)
    using store = made.store(4, guessing(4 + 1))
    for (let i = 0; i < 3; i++) {
      store.beginPass(decoding)
      run(store, 0, [0], 4)
      run(store, 1, [2], 4)
    }
    store.beginPass(decoding)
    run(store, 0, [0], 4)
    expect(() => run(store, 1, [1, 2], 4)).toThrow(/short-5: an expert cannot be read: the file ends at 10/)
    store.beginPass(decoding)
    run(store, 0, [1], 4)
    run(store, 1, [2, 3], 4)
  })

  test('whose file was changed ends nothing until it is needed', () => {
    const made = new MadeExperts('changed', grid, [4 + 1])
    using store = made.store(4, guessing(4 + 1))
    truncateSync(`${made.file}-5`, 10)
    store.beginPass(decoding)
    run(store, 0, [0], 4)
    run(store, 1, [2], 4)
    expect(store.ahead?.guesses.size).toBe(0)
    expect(() => run(store, 1, [1], 4)).toThrow(/changed-5: was changed while the model runs from it/)
    run(store, 1, [2], 4)
  })

  test('is not left half-read by an error beside it', () => {
    const made = new MadeExperts('beside', grid, [2])
    using store = made.store(6, guessing(4, 5))
    truncateSync(`${made.file}-2`, 10)
    store.beginPass(decoding)
    run(store, 0, [0], 4)
    expect(() => run(store, 0, [2], 4)).toThrow(/was changed/)
    run(store, 1, [0, 1], 4)
    expect(store.counts.useful).toBe(2 * expertBytes)
  })
})

describe('whether guesses pay', () => {
  /** Tokens that take so many seconds with guesses and without. */
  function timed(seconds: { with: number; without: number }): { trial: TimedTrial; token: () => boolean } {
    let now = 0
    const trial = new TimedTrial(() => now)
    const token = (): boolean => {
      const { isOn } = trial
      trial.begin()
      now += isOn ? seconds.with : seconds.without
      trial.end()
      return isOn
    }
    return { trial, token }
  }

  test('is tried on tokens, and the quicker way is kept', () => {
    for (const seconds of [
      { with: 1, without: 2 },
      { with: 2, without: 1 },
    ]) {
      const { trial, token } = timed(seconds)
      const tried = Array.from({ length: 32 }, token)
      expect(tried.filter(isOn => isOn)).toHaveLength(16)
      expect(trial.verdict).toEqual({ isOn: seconds.with < seconds.without, ...seconds })
      const kept = Array.from({ length: 256 }, token)
      expect(new Set(kept)).toEqual(new Set([seconds.with < seconds.without]))
    }
  })

  test('is tried again, less often where it stays the same, and may turn', () => {
    const seconds = { with: 2, without: 1 }
    const { trial, token } = timed(seconds)
    for (let i = 0; i < 32 + 256 + 32; i++) token()
    expect(Array.from({ length: 512 }, token)).not.toContain(true)
    seconds.without = 3
    for (let i = 0; i < 32; i++) token()
    expect(trial.verdict?.isOn).toBe(true)
    expect(Array.from({ length: 256 }, token)).not.toContain(false)
    expect(Array.from({ length: 32 }, token)).toContain(false)
  })

  test('is asked of each token that ends, even if nobody comes back after the last wave', () => {
    const seen: string[] = []
    const trial = { isOn: true, verdict: null, begin: () => seen.push('begin'), end: () => seen.push('end') }
    using store = new MadeExperts('ends', { layers: 2, experts: 4 }).store(4, guessing())
    ;(store.ahead as ReadAhead).trial = trial
    store.beginPass(decoding)
    for (const layer of [0, 1]) for (const _ of store.bring(layer, [1])) break
    expect(seen).toEqual(['begin', 'end'])
    store.beginPass({ ...decoding, isDecoding: false })
    for (const layer of [0, 1]) for (const _ of store.bring(layer, [1])) break
    expect(seen).toEqual(['begin', 'end'])
    store.beginPass(decoding)
    run(store, 0, [1], 4)
    for (const _ of store.bring(1, [1, 2, 3])) break // an error, perhaps: others were to come
    expect(seen).toEqual(['begin', 'end', 'begin'])
  })

  test('a token that does not end does not count', () => {
    const { trial, token } = timed({ with: 1, without: 2 })
    for (let i = 0; i < 31; i++) token()
    trial.begin()
    expect(trial.verdict).toBeNull()
    token()
    expect(trial.verdict).not.toBeNull()
  })
})

describe('a text that begins', () => {
  test('is seen by where its tokens are, in one chunk or several', () => {
    using tiered = new TieredModel(openSource(fixture('olmoe')))
    const passes: Pass[] = []
    tiered.keepExperts(0)
    new RunningModel(tiered.model, []).follow(pass => passes.push(pass))
    write(tiered.model, 2)
    write(tiered.model, 1, 0, [[9]])
    const [fresh, next, last] = [prompts.flat(), expect.any(Array), [9]]
    expect(passes).toEqual([
      { ids: fresh, begins: true, isDecoding: false },
      { ids: next, begins: false, isDecoding: true },
      { ids: last, begins: true, isDecoding: true },
    ])
  })

  test('is told to policies once', () => {
    let texts = 0
    const policy = {
      use() {},
      victim: ([first]: Iterable<number>) => first as number,
      begin: () => void texts++,
    }
    using store = new MadeExperts('texts', { layers: 2, experts: 4 }).store(2, guessing(), { policy })
    for (const begins of [true, false, false, true]) {
      store.beginPass({ ...decoding, begins })
      run(store, 0, [0, 1], 4)
      run(store, 1, [2], 4)
    }
    expect(texts).toBe(2)
  })
})
