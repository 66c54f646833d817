// What every decoder must do, whatever its architecture.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  architectureOf,
  type CausalLM,
  loadModel,
  type ModelConfig,
  PreallocatedCache,
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

export function runModelTests(config: ModelConfig): void {
  const architecture = architectureOf(config)

  const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => layer)
  const moeLayers = layers.filter(layer => architecture.inactiveParameters(config, layer) > 0)

  function fresh(): CausalLM {
    manualSeed(3)
    const model = architecture.create(config).eval()
    // Larger weights than at the start of training, so that logits tell models apart.
    noGrad(() => {
      for (const parameter of model.parameters()) if (parameter.ndim > 1) parameter.mul_(5)
    })
    return model
  }
  const ids = (batch: number, length: number): Tensor =>
    randint(3, config.vocab_size, [batch, length], { seed: 4 })

  test('logits have the shape [batch, length, vocabulary] and are finite', () => {
    expectNoLeak(() => {
      using model = fresh()
      const { logits, routings } = model.forward(ids(2, 7))
      expect(logits.shape).toEqual([2, 7, config.vocab_size])
      expect(logits.isfinite().all().item()).toBe(1)
      expect(routings.map(({ layer }) => layer)).toEqual(moeLayers)
    })
  })

  test('shapes known from the config are those of the model', () => {
    using model = fresh()
    const actual = new Map([...model.stateDict()].map(([name, value]) => [name, value.shape]))
    expect([...architecture.parameterShapes(config)].sort()).toEqual([...actual].sort())
  })

  test('a position sees nothing of later ones', () => {
    using model = fresh()
    const one = ids(1, 9)
    const other = one.clone()
    other.select(1, 8).fill_(5)
    other.select(1, 7).fill_(6)
    const [a, b] = [model.forward(one).logits, model.forward(other).logits]
    expectClose(a.narrow(1, 0, 7), b.narrow(1, 0, 7), tolerance)
  })

  test.each([[[9]], [[4, 5]], [[1, 1, 1, 6]], [[8, 1]]])('cached in chunks of %j equals uncached', chunks => {
    inferenceMode(() =>
      expectNoLeak(() => {
        using model = fresh()
        const all = ids(2, 9)
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

  test('a left-padded batch equals each text alone', () => {
    using model = fresh()
    const [long, short] = [ids(1, 8), ids(1, 5)]
    const batch = zeros([2, 8], { dtype: 'i64' })
    batch.select(0, 0).copy_(long.select(0, 0))
    batch.select(0, 1).narrow(0, 3, 5).copy_(short.select(0, 0))
    const mask = tensor([new Array(8).fill(true), [false, false, false, true, true, true, true, true]])
    const { logits } = model.forward(batch, { mask })
    expectClose(logits.narrow(0, 0, 1), model.forward(long).logits, tolerance)
    expectClose(logits.narrow(0, 1, 1).narrow(1, 3, 5), model.forward(short).logits, tolerance)
  })

  test('save -> load -> save is byte-exact, under published names', () => {
    const folders = [
      mkdtempSync(join(tmpdir(), 'switchyard-')),
      mkdtempSync(join(tmpdir(), 'switchyard-')),
    ] as const
    try {
      using model = fresh()
      saveModel(folders[0], model, config)
      const loaded = loadModel(folders[0])
      expect(loaded.config).toEqual(config)
      expectClose(loaded.model.forward(ids(1, 6)).logits, model.forward(ids(1, 6)).logits, 0)
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
    using model = fresh()
    tidy(() => model.train().forward(ids(4, 16)).logits.square().mean().backward())
    const without = [...model.namedParameters()].filter(
      ([, parameter]) => !(parameter.grad?.abs().sum().item() ?? 0),
    )
    expect(without.map(([name]) => name)).toEqual([])
  })
}
