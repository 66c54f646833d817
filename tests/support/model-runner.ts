// What every decoder, and every encoder, must do, whatever its architecture.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  architectureOf,
  type CausalLM,
  loadLanguageModel,
  type MaskedLM,
  type ModelConfig,
  PreallocatedCache,
  type SwitchyardMoeEncoderConfig,
  saveModel,
} from '../../src/models/index.ts'
import {
  inferenceMode,
  manualSeed,
  noGrad,
  randint,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../src/torch/index.ts'
import { expectClose, expectNoLeak } from './tensors.ts'

/** f32 logits of order one after a few layers: sums of a few hundred terms in different order. */
const tolerance = 2e-5

/** A model whose weights are larger than at the start of training, so that logits tell models apart. */
function fresh(config: ModelConfig): CausalLM | MaskedLM {
  manualSeed(3)
  const model = architectureOf(config).create(config)
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
    const [a, b] = [model.forward(one).logits, model.forward(other).logits]
    expect(a.select(1, 0).sub(b.select(1, 0)).abs().max().item()).toBeGreaterThan(100 * tolerance)
  })

  if (mixes) return
  testPadding(config, 'left')
  testPadding(config, 'right')
}

function runSharedTests(config: ModelConfig): void {
  const architecture = architectureOf(config)
  const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => layer)
  const shapes = architecture.parameterShapes(config)
  const moeLayers = layers.filter(layer => !shapes.has(`model.layers.${layer}.mlp.gate_proj.weight`))

  test('logits have the shape [batch, length, vocabulary] and are finite', () => {
    expectNoLeak(() => {
      using model = fresh(config)
      const { logits, routings } = model.forward(idsOf(config, 2, 7))
      expect(logits.shape).toEqual([2, 7, config.vocab_size])
      expect(logits.isfinite().all().item()).toBe(1)
      expect(routings.map(({ layer }) => layer)).toEqual(moeLayers)
    })
  })

  test('shapes known from the config are those of the model', () => {
    using model = fresh(config)
    const actual = new Map([...model.stateDict()].map(([name, value]) => [name, value.shape]))
    expect([...architecture.parameterShapes(config)].sort()).toEqual([...actual].sort())
  })

  test('save -> load -> save is byte-exact, under published names', () => {
    const folders = [
      mkdtempSync(join(tmpdir(), 'switchyard-')),
      mkdtempSync(join(tmpdir(), 'switchyard-')),
    ] as const
    try {
      using model = fresh(config)
      saveModel(folders[0], model, config)
      const loaded = loadLanguageModel(folders[0])
      expect(loaded.config).toEqual(config)
      expectClose(
        loaded.model.forward(idsOf(config, 1, 6)).logits,
        model.forward(idsOf(config, 1, 6)).logits,
        0,
      )
      saveModel(folders[1], loaded.model, loaded.config)
      for (const name of ['config.json', 'model.safetensors']) {
        expect(readFileSync(join(folders[1], name)).equals(readFileSync(join(folders[0], name)))).toBe(true)
      }
      loaded.model.dispose()
    } finally {
      for (const folder of folders) rmSync(folder, { recursive: true })
    }
  })

  test('every parameter gets a gradient', () => {
    using model = fresh(config)
    tidy(() =>
      model
        .train()
        .forward(idsOf(config, 4, 16))
        .logits.square()
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
    const [a, b] = [model.forward(one).logits, model.forward(other).logits]
    expectClose(a.narrow(1, 0, 7), b.narrow(1, 0, 7), tolerance)
  })

  test.each([[[9]], [[4, 5]], [[1, 1, 1, 6]], [[8, 1]]])('cached in chunks of %j equals uncached', chunks => {
    inferenceMode(() =>
      expectNoLeak(() => {
        using model = fresh(config) as CausalLM
        const all = idsOf(config, 2, 9)
        const whole = model.forward(all).logits
        using cache = new PreallocatedCache(model, { batchSize: 2, capacity: 9 })
        let start = 0
        for (const length of chunks) {
          const { logits } = model.forward(all.narrow(1, start, length), { cache })
          expectClose(logits, whole.narrow(1, start, length), tolerance)
          start += length
        }
      }),
    )
  })

  testPadding(config, 'left')
}

function testPadding(config: ModelConfig, side: 'left' | 'right'): void {
  test(`a ${side}-padded batch equals each text alone`, () => {
    using model = fresh(config)
    const [long, short] = [idsOf(config, 1, 8), idsOf(config, 1, 5)]
    const start = side === 'left' ? 3 : 0
    const batch = zeros([2, 8], { dtype: 'i64' })
    batch.select(0, 0).copy_(long.select(0, 0))
    batch.select(0, 1).narrow(0, start, 5).copy_(short.select(0, 0))
    const real = Array.from({ length: 8 }, (_, t) => t >= start && t < start + 5)
    const { logits } = model.forward(batch, { mask: tensor([new Array(8).fill(true), real]) })
    expectClose(logits.narrow(0, 0, 1), model.forward(long).logits, tolerance)
    expectClose(logits.narrow(0, 1, 1).narrow(1, start, 5), model.forward(short).logits, tolerance)
  })
}
