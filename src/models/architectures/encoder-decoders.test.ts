// Switch and NLLB against Hugging Face transformers, and what every encoder-decoder must do.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { ContiguousCache } from '../../nn/index.ts'
import { inferenceMode, manualSeed, noGrad, randint, type Tensor, tidy } from '../../torch/index.ts'
import {
  countParameters,
  createModel,
  declarationsOf,
  type EncoderDecoderLM,
  type EncoderDecoderModelConfig,
  generate,
  layerTable,
  openModel,
  parseAnyConfig,
  readModelConfig,
  saveModel,
  tokensOf,
  tokensOfSequences,
  verifyModel,
} from '../index.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))

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
  function fresh(): EncoderDecoderLM {
    manualSeed(3)
    const model = (createModel(config) as EncoderDecoderLM).eval()
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
    const declared = [...declarationsOf(config)].map(([path, { shape }]) => [path, shape])
    expect(declared).toEqual([...actual])
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
        const whole = model.forward(tokensOf(source), tokensOf(target)).logits.view([2, 7, -1])
        using encoded = model.encode(tokensOf(source))
        using cache = new ContiguousCache(model, { sequences: 2, capacity: 7 })
        const rows = target.tolist() as number[][]
        let start = 0
        for (const length of chunks) {
          const fresh = rows.map(row => row.slice(start, start + length))
          const tokens = tokensOfSequences(fresh, { past: cache.lengths })
          const { logits } = model.decode(tokens, encoded, { cache })
          expectClose(logits.view([2, length, -1]), whole.narrow(1, start, length), tolerance)
          start += length
        }
      }),
    )
  })

  test('sources and targets of unequal lengths equal each alone', () => {
    using model = fresh()
    const row = (length: number): number[] => (ids(1, length).tolist() as number[][])[0] as number[]
    const [sources, targets] = [
      [row(8), row(5)],
      [row(3), row(4)],
    ]
    const { logits } = model.forward(tokensOfSequences(sources), tokensOfSequences(targets))
    const alone = sources.map(
      (source, b) => model.forward(tokensOfSequences([source]), tokensOfSequences([targets[b] ?? []])).logits,
    )
    expectClose(logits.narrow(0, 0, 3), alone[0] as Tensor, tolerance)
    expectClose(logits.narrow(0, 3, 4), alone[1] as Tensor, tolerance)
  })

  test('save -> load -> save is byte-exact, under published names', () => {
    const folders = [
      mkdtempSync(join(tmpdir(), 'switchyard-')),
      mkdtempSync(join(tmpdir(), 'switchyard-')),
    ] as const
    try {
      using model = fresh()
      saveModel(folders[0], model, config)
      const opened = openModel(folders[0])
      expect(opened.config).toEqual(config)
      using loaded = opened.load()
      saveModel(folders[1], loaded, opened.config)
      for (const name of ['config.json', 'model.safetensors'])
        expect(readFileSync(join(folders[1], name)).equals(readFileSync(join(folders[0], name)))).toBe(true)
    } finally {
      for (const folder of folders) rmSync(folder, { recursive: true })
    }
  })

  test('every parameter gets a gradient', () => {
    using model = fresh()
    tidy(() =>
      model
        .train()
        .forward(tokensOf(ids(4, 16)), tokensOf(ids(4, 16)))
        .logits.square()
        .mean()
        .backward(),
    )
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
    const { logits } = model.forward(tokensOfSequences([[5, 6, 7]]), tokensOfSequences([target]))
    expect(written).toEqual(logits.argmax(-1).tolist())
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
      const model = (createModel(config) as EncoderDecoderLM).eval()
      return model.forward(tokensOf(source), tokensOf(source)).logits.view([...source.shape, -1])
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
