// What every decoder, and every encoder, must do, whatever its architecture.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  type CausalLM,
  createModel,
  declarationsOf,
  type MaskedLM,
  type ModelConfig,
  openModel,
  type SwitchyardMoeEncoderConfig,
  saveModel,
  tokensOf,
  tokensOfSequences,
} from '../../src/models/index.ts'
import { ContiguousCache, Linear, Module, replaceModules } from '../../src/nn/index.ts'
import { inferenceMode, manualSeed, noGrad, randint, type Tensor, tidy } from '../../src/torch/index.ts'
import { logitsOf } from './logits.ts'
import { expectClose, expectNoLeak } from './tensors.ts'

/** f32 logits of order one after a few layers: sums of a few hundred terms in different order. */
const tolerance = 2e-5

/** Routers read their weights themselves, in f32. */
const isReplaceable = (module: Module): module is Linear =>
  module instanceof Linear && module.weight.declaration.role !== 'router'

/** A linear layer inside another module, as adapters hold theirs. */
class Watched extends Module {
  readonly base: Linear
  readonly #onCall: () => void

  constructor(base: Linear, onCall: () => void) {
    super()
    this.base = base
    this.#onCall = onCall
  }

  get weight(): Tensor {
    return this.base.weight
  }

  forward(x: Tensor): Tensor {
    this.#onCall()
    return this.base.forward(x)
  }
}

/** A model whose weights are larger than at the start of training, so that logits tell models apart. */
function fresh(config: ModelConfig): CausalLM | MaskedLM {
  manualSeed(3)
  const model = createModel(config) as CausalLM | MaskedLM
  noGrad(() => {
    for (const parameter of model.parameters()) if (parameter.ndim > 1) parameter.mul_(5)
  })
  return model.eval()
}

function idsOf({ vocab_size }: ModelConfig, batch: number, length: number): Tensor {
  return randint(3, vocab_size, [batch, length], { seed: 4 })
}

export function runModelTests(config: ModelConfig): void {
  runSharedTests(config)
  runCausalTests(config)
}

/** @param mixes whether sequences of a batch compete for experts, as where experts choose. Default false */
export function runEncoderTests(config: SwitchyardMoeEncoderConfig, { mixes = false } = {}): void {
  runSharedTests(config)

  test('a position sees later ones', () => {
    using model = fresh(config)
    const one = idsOf(config, 1, 9)
    const other = one.clone()
    other.select(1, 8).copy_(one.select(1, 8).eq(5).add(5)) // 5, or 6 where it was 5
    const [a, b] = [logitsOf(model, one), logitsOf(model, other)]
    expect(a.select(1, 0).sub(b.select(1, 0)).abs().max().item()).toBeGreaterThan(100 * tolerance)
  })

  if (mixes) return
  testRagged(config)
}

function runSharedTests(config: ModelConfig): void {
  const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => layer)
  const shapes = declarationsOf(config)
  const moeLayers = layers.filter(layer => !shapes.has(`model.layers.${layer}.mlp.gate_proj.weight`))

  test('logits have the shape [tokens, vocabulary] and are finite', () => {
    expectNoLeak(() => {
      using model = fresh(config)
      const { logits, routings } = model.forward(tokensOf(idsOf(config, 2, 7)))
      expect(logits.shape).toEqual([2 * 7, config.vocab_size])
      expect(logits.isfinite().all().item()).toBe(1)
      expect(routings.map(({ layer }) => layer)).toEqual(moeLayers)
    })
  })

  test('shapes known from the config are those of the model', () => {
    using model = fresh(config)
    const actual = new Map([...model.stateDict()].map(([name, value]) => [name, value.shape]))
    expect([...shapes].map(([name, { shape }]) => [name, shape])).toEqual([...actual])
  })

  test('save -> load -> save is byte-exact, under published names', () => {
    const folders = [
      mkdtempSync(join(tmpdir(), 'switchyard-')),
      mkdtempSync(join(tmpdir(), 'switchyard-')),
    ] as const
    try {
      using model = fresh(config)
      saveModel(folders[0], model, config)
      const opened = openModel(folders[0])
      expect(opened.config).toEqual(config)
      using loaded = opened.load({ kind: 'stack' })
      expectClose(logitsOf(loaded, idsOf(config, 1, 6)), logitsOf(model, idsOf(config, 1, 6)), 0)
      saveModel(folders[1], loaded, opened.config)
      for (const name of ['config.json', 'model.safetensors']) {
        expect(readFileSync(join(folders[1], name)).equals(readFileSync(join(folders[0], name)))).toBe(true)
      }
    } finally {
      for (const folder of folders) rmSync(folder, { recursive: true })
    }
  })

  test('every linear layer can be replaced', () => {
    using model = fresh(config)
    const before = logitsOf(model, idsOf(config, 1, 6))
    const called = new Set<string>()
    const replaced = replaceModules(model, (module, path) =>
      isReplaceable(module) ? new Watched(module, () => called.add(path)) : undefined,
    )
    expectClose(logitsOf(model, idsOf(config, 1, 6)), before, 0)
    expect(replaced.length).toBeGreaterThan(0)
    expect([...called].sort()).toEqual([...replaced].sort())
  })

  test('every parameter gets a gradient', () => {
    using model = fresh(config)
    tidy(() =>
      logitsOf(model.train(), idsOf(config, 4, 16))
        .square()
        .mean()
        .backward(),
    )
    const without = [...model.namedParameters()].filter(
      ([, parameter]) => !(parameter.grad?.abs().sum().item() ?? 0),
    )
    expect(without.map(([name]) => name)).toEqual([])
  })
}

function runCausalTests(config: ModelConfig): void {
  test('a position sees nothing of later ones', () => {
    using model = fresh(config)
    const one = idsOf(config, 1, 9)
    const other = one.clone()
    other.select(1, 8).fill_(5)
    other.select(1, 7).fill_(6)
    const [a, b] = [logitsOf(model, one), logitsOf(model, other)]
    expectClose(a.narrow(1, 0, 7), b.narrow(1, 0, 7), tolerance)
  })

  test.each([[[9]], [[4, 5]], [[1, 1, 1, 6]], [[8, 1]]])('cached in chunks of %j equals uncached', chunks => {
    inferenceMode(() =>
      expectNoLeak(() => {
        using model = fresh(config) as CausalLM
        const all = idsOf(config, 2, 9)
        const whole = logitsOf(model, all)
        using cache = new ContiguousCache(model, { sequences: 2, capacity: 9 })
        const rows = all.tolist() as number[][]
        let start = 0
        for (const length of chunks) {
          const fresh = rows.map(row => row.slice(start, start + length))
          const { logits } = model.forward(tokensOfSequences(fresh, { past: cache.lengths }), { cache })
          expectClose(logits.view([2, length, -1]), whole.narrow(1, start, length), tolerance)
          start += length
        }
      }),
    )
  })

  test('sequences of unequal lengths, cached in unequal chunks, equal each alone', () => {
    inferenceMode(() =>
      expectNoLeak(() => {
        using model = fresh(config) as CausalLM
        const texts = [8, 5, 7].map(
          length => (idsOf(config, 1, length).tolist() as number[][])[0] as number[],
        )
        const whole = texts.map(text => model.forward(tokensOfSequences([text])).logits)
        using cache = new ContiguousCache(model, { sequences: 3, capacity: 8 })
        for (const ends of [
          [5, 2, 6],
          [6, 4, 7],
          [8, 5, 7],
        ]) {
          const past = [...cache.lengths]
          const fresh = texts.map((text, b) => text.slice(past[b], ends[b]))
          const tokens = tokensOfSequences(fresh, { past })
          const { logits } = model.forward(tokens, { cache })
          for (const [b, own] of whole.entries()) {
            const [start = 0, count = 0] = [tokens.starts[b], fresh[b]?.length]
            expectClose(logits.narrow(0, start, count), own.narrow(0, past[b] ?? 0, count), tolerance)
          }
        }
      }),
    )
  })

  testRagged(config)
}

function testRagged(config: ModelConfig): void {
  test('sequences of unequal lengths equal each alone', () => {
    using model = fresh(config)
    const texts = [8, 5].map(length => (idsOf(config, 1, length).tolist() as number[][])[0] as number[])
    const { logits } = model.forward(tokensOfSequences(texts))
    const alone = texts.map(text => model.forward(tokensOfSequences([text])).logits)
    expectClose(logits.narrow(0, 0, 8), alone[0] as Tensor, tolerance)
    expectClose(logits.narrow(0, 8, 5), alone[1] as Tensor, tolerance)
  })

  test('the logits of the last tokens alone are those of all', () => {
    using model = fresh(config)
    const texts = [8, 5].map(length => (idsOf(config, 1, length).tolist() as number[][])[0] as number[])
    const tokens = tokensOfSequences(texts)
    const all = model.forward(tokens).logits
    const last = model.forward(tokens, { logitsAt: 'last' }).logits
    expectClose(last.select(0, 0), all.select(0, 7), tolerance)
    expectClose(last.select(0, 1), all.select(0, 12), tolerance)
  })
}
