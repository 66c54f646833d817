// Switch and NLLB against Hugging Face transformers, and what every encoder-decoder must do.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../tests/support/tensors.ts'
import {
  inferenceMode,
  manualSeed,
  noGrad,
  randint,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../torch/index.ts'
import {
  countParameters,
  type EncoderDecoderLM,
  type EncoderDecoderModelConfig,
  encoderDecoderOf,
  generate,
  layerTable,
  loadAnyModel,
  PreallocatedCache,
  parseAnyConfig,
  readModelConfig,
  saveModel,
  verifyModel,
} from './index.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../tests/fixtures/${name}`, import.meta.url))

/** f32 logits of order one after a few layers: sums of a few hundred terms in different order. */
const tolerance = 2e-5

const variants: Record<string, Record<string, unknown>[]> = {
  switch_transformers: [
    { tie_word_embeddings: false, router_bias: true, num_layers: 3, num_sparse_encoder_layers: 3 },
    { router_ignore_padding_tokens: true, num_sparse_decoder_layers: 0, dense_act_fn: 'gelu_new' },
  ],
  nllb_moe: [
    {
      moe_token_dropout: 0.2,
      normalize_router_prob_before_dropping: true,
      router_bias: true,
      tie_word_embeddings: false,
    },
    { moe_eval_capacity_token_fraction: -1, scale_embedding: false, router_ignore_padding_tokens: true },
  ],
}

describe.each(Object.entries(variants))('%s', (name, changes) => {
  const json = JSON.parse(readFileSync(join(fixture(name), 'config.json'), 'utf8')) as object

  test('logits within 1e-5 of transformers, greedy tokens equal', async () => {
    const folder = fixture(name)
    const checks = await verifyModel(folder, join(folder, 'reference.safetensors'), 1e-5)
    expect(checks.map(({ ok }) => ok)).toEqual(checks.map(() => true))
  })

  describe.each([{}, ...changes])('with %j', change => {
    const config = parseAnyConfig({ ...json, ...change }, name) as EncoderDecoderModelConfig
    runTests(config)
  })
})

function runTests(config: EncoderDecoderModelConfig): void {
  const architecture = encoderDecoderOf(config)

  function fresh(): EncoderDecoderLM {
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

  test('shapes known from the config are those of the model, and add up in the accounting', () => {
    using model = fresh()
    const actual = new Map([...model.stateDict()].map(([path, value]) => [path, value.shape]))
    expect([...architecture.parameterShapes(config)].sort()).toEqual([...actual].sort())
    const { total, active } = countParameters(config)
    expect(total).toBe(model.numParameters)
    expect(active).toBeLessThan(total)
    const rows = layerTable(config)
    expect(rows.reduce((sum, row) => sum + row.total * row.count, 0)).toBe(total)
    expect(rows.reduce((sum, row) => sum + row.active * row.count, 0)).toBe(active)
  })

  test.each([[[7]], [[3, 4]], [[1, 1, 5]]])('cached in chunks of %j equals uncached', chunks => {
    inferenceMode(() =>
      expectNoLeak(() => {
        using model = fresh()
        const [source, target] = [ids(2, 6), ids(2, 7)]
        const whole = model.forward(source, target).logits
        const encoded = model.encode(source)
        using cache = new PreallocatedCache(model, { batchSize: 2, capacity: 7 })
        let start = 0
        for (const length of chunks) {
          const { logits } = model.decode(target.narrow(1, start, length), encoded, { cache })
          expectClose(logits, whole.narrow(1, start, length), tolerance)
          start += length
        }
      }),
    )
  })

  test('a padded source equals the source alone', () => {
    using model = fresh()
    const [long, short, target] = [ids(1, 8), ids(1, 5), ids(1, 4)]
    const batch = zeros([2, 8], { dtype: 'i64' }).fill_(config.pad_token_id)
    batch.select(0, 0).copy_(long.select(0, 0))
    batch.select(0, 1).narrow(0, 0, 5).copy_(short.select(0, 0))
    const mask = tensor([new Array(8).fill(true), [true, true, true, true, true, false, false, false]])
    const { logits } = model.forward(batch, target.repeat([2, 1]), mask)
    expectClose(logits.narrow(0, 0, 1), model.forward(long, target).logits, tolerance)
    expectClose(logits.narrow(0, 1, 1), model.forward(short, target).logits, tolerance)
  })

  test('save -> load -> save is byte-exact, under published names', () => {
    const folders = [
      mkdtempSync(join(tmpdir(), 'switchyard-')),
      mkdtempSync(join(tmpdir(), 'switchyard-')),
    ] as const
    try {
      using model = fresh()
      saveModel(folders[0], model, config)
      const loaded = loadAnyModel(folders[0])
      expect(loaded.config).toEqual(config)
      saveModel(folders[1], loaded.model, loaded.config)
      for (const name of ['config.json', 'model.safetensors'])
        expect(readFileSync(join(folders[1], name)).equals(readFileSync(join(folders[0], name)))).toBe(true)
      loaded.model.dispose()
    } finally {
      for (const folder of folders) rmSync(folder, { recursive: true })
    }
  })

  test('every parameter gets a gradient', () => {
    using model = fresh()
    tidy(() => model.train().forward(ids(4, 16), ids(4, 16)).logits.square().mean().backward())
    const without = [...model.namedParameters()].filter(
      ([, parameter]) => !(parameter.grad?.abs().sum().item() ?? 0),
    )
    expect(without.map(([name]) => name)).toEqual([])
  })

  test('generation starts from the start token and leaves nothing behind', async () => {
    const model = fresh()
    const written: number[] = []
    for await (const id of generate(model, [5, 6, 7], { temperature: 0, maxNewTokens: 4, stopIds: [] }))
      written.push(id)
    const target = [config.decoder_start_token_id, ...written.slice(0, -1)]
    const { logits } = model.forward(tensor([[5n, 6n, 7n]]), tensor([target.map(BigInt)]))
    expect(written).toEqual(logits.argmax(-1).squeeze(0).tolist())
    model.dispose()
  })
}

describe('capacity of Switch is per sequence', () => {
  const folder = fixture('switch_transformers')
  const json = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as object

  test('a sequence of a batch gets what it gets alone, and a small capacity changes the output', () => {
    const logitsWith = (expert_capacity: number, source: Tensor): Tensor => {
      const config = parseAnyConfig({ ...json, expert_capacity }, folder) as EncoderDecoderModelConfig
      manualSeed(3)
      const model = encoderDecoderOf(config).create(config).eval()
      return model.forward(source, source).logits
    }
    const source = randint(3, 96, [3, 12], { seed: 5 })
    const dropped = logitsWith(2, source)
    expectClose(dropped.narrow(0, 1, 1), logitsWith(2, source.narrow(0, 1, 1)), tolerance)
    expect(dropped.sub(logitsWith(64, source)).abs().max().item()).toBeGreaterThan(1e-4)
  })
})

test('what needs a decoder says so', () => {
  expect(() => readModelConfig(fixture('nllb_moe'))).toThrow(
    'nllb-moe is an encoder-decoder; this needs a decoder-only model',
  )
})
