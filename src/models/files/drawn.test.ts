import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { skewedLoads } from '../../moe/index.ts'
import { inferenceMode, manualSeed, rand, randint, tidy } from '../../torch/index.ts'
import {
  type AnyModelConfig,
  createModel,
  type DrawOptions,
  declarationsOf,
  drawingMemory,
  drawnSource,
  noTokenizer,
  openModel,
  parseModelConfig,
  parseTypeRules,
  readAnyConfig,
  tokenRoutings,
  tokensOf,
  writeGgufModel,
  writeModelFolder,
} from '../index.ts'

const fixtures = fileURLToPath(new URL('../../../tests/fixtures', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const architectures = readdirSync(fixtures).filter(name => {
  try {
    return readdirSync(join(fixtures, name)).includes('config.json')
  } catch {
    return false // a file
  }
})

function folderOf(name: string, config: AnyModelConfig, options: DrawOptions = {}): string {
  const folder = join(scratch, name)
  writeModelFolder(folder, drawnSource(config, options), { dtype: 'f32' })
  return folder
}

const weightsOf = (folder: string): Buffer => readFileSync(join(folder, 'model.safetensors'))

describe.each(architectures)('%s', name => {
  const config = readAnyConfig(join(fixtures, name))

  test('what is written opens, and starts as a fresh model does', () => {
    using model = openModel(folderOf(`${name}-opens`, config)).load()
    using fresh = createModel(config)
    const started = fresh.stateDict()
    for (const [path, tensor] of model.stateDict()) {
      const like = started.get(path)
      expect(tensor.shape).toEqual(like?.shape)
      // Norms, biases that start at zero, and buffers have nothing to draw.
      const isConstant =
        tidy(() => like?.detach().double().sub(like.detach().double().mean()).abs().max().item()) === 0
      if (isConstant && like) expectClose(tensor, like, 0)
    }
  })

  test('the same seed gives the same bytes, another one does not', () => {
    const [first, again, other] = [3, 3, 4].map((seed, i) => folderOf(`${name}-seed-${i}`, config, { seed }))
    expect(weightsOf(first as string).equals(weightsOf(again as string))).toBe(true)
    expect(weightsOf(first as string).equals(weightsOf(other as string))).toBe(false)
  })
})

const moe = parseModelConfig(
  {
    model_type: 'mixtral',
    vocab_size: 4096,
    hidden_size: 256,
    intermediate_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    num_local_experts: 8,
    num_experts_per_tok: 2,
    pad_token_id: 5,
  },
  'test',
)

test('weights have the deviation of the config, experts differ, and the padding row is zero', () => {
  using model = openModel(folderOf('deviation', moe)).load({ kind: 'decoder' })
  const tensors = model.stateDict()
  const [experts, table] = ['model.layers.1.mlp.experts.down_proj', 'model.embed_tokens.weight'].map(path =>
    tensors.get(path)?.detach(),
  )
  if (!experts || !table) throw new Error('the model has no experts or no embedding')
  tidy(() => {
    // Four deviations of a deviation of n numbers, 1 / sqrt(2 n) of it.
    expect(Math.abs(experts.std().item() / 0.02 - 1)).toBeLessThan(4 / Math.sqrt(2 * experts.numel))
    expect(experts.select(0, 0).sub(experts.select(0, 1)).abs().mean().item()).toBeGreaterThan(0.01)
    expect(table.select(0, 5).abs().max().item()).toBe(0)
    expect(table.select(0, 6).abs().max().item()).toBeGreaterThan(0)
  })
})

test('a GGUF file has the same numbers, and the same bytes for the same seed', () => {
  const files = ['a', 'b'].map(name => join(scratch, `${name}.gguf`)) as [string, string]
  const options = { rules: parseTypeRules('f32', ''), name: 'random', tokenizer: noTokenizer }
  for (const file of files) writeGgufModel(drawnSource(moe, { seed: 9 }), file, options)
  expect(readFileSync(files[0]).equals(readFileSync(files[1]))).toBe(true)
  using fromGguf = openModel(files[0]).load()
  using fromFolder = openModel(folderOf('gguf', moe, { seed: 9 })).load()
  const numbers = fromFolder.stateDict()
  for (const [path, tensor] of fromGguf.stateDict()) expectClose(tensor, numbers.get(path) ?? tensor.neg(), 0)
})

test('drawing leaves no tensor behind, and the shared generator where it was', () => {
  const random = (write: boolean): number => {
    manualSeed(1)
    if (write) folderOf('generator', moe)
    return tidy(() => rand([1]).item())
  }
  expect(random(true)).toBe(random(false))
  expectNoLeak(() => void folderOf('leak', moe))
})

test("what writing takes is a layer's experts", () => {
  const small = { ...moe, vocab_size: 16 } // so that embeddings are smaller
  expect(drawingMemory(declarationsOf(small))).toBe(4 * 8 * 3 * 64 * 256)
})

// Each token is a text of its own: within a text tokens share what attention brings, and so their experts.
describe('the load of experts over random tokens', () => {
  const tokens = 4096

  /** Each layer's loads as shares of all tokens, largest first. */
  function loads(skew: number): number[][] {
    using model = openModel(folderOf(`skew-${skew}`, moe, { skew })).load({ kind: 'decoder' })
    return inferenceMode(() =>
      tidy(() => {
        const { routings } = model.forward(tokensOf(randint(6, 4096, [tokens, 1], { seed: 1 })))
        return tokenRoutings(routings).map(({ indices }) => {
          const shares = Array.from({ length: 8 }, () => 0)
          for (const expert of indices.toTypedArray<'i64'>()) shares[Number(expert)]! += 1 / tokens
          return shares.sort((a, b) => b - a)
        })
      }),
    )
  }

  // As in skew.test.ts: four deviations of tokens and of rows' lengths, and the rule's own error. About 1 - 1/e of the
  // vocabulary's 4,096 embeddings are seen, so that as many tokens are independent.
  const chance = 4 * (0.5 / Math.sqrt(0.63 * tokens) + 0.242 / Math.sqrt(2 * 256))

  test.each([
    [0, chance],
    [0.5, chance + 0.04],
    [1, chance + 0.04],
  ])('with skew %d it is within %d of the rule', (skew, tolerance) => {
    const wanted = skewedLoads(8, 2, skew)
    for (const layer of loads(skew))
      for (const [rank, load] of layer.entries())
        expect(Math.abs(load - (wanted[rank] ?? 0))).toBeLessThan(tolerance)
  })

  test('ranks are not the same in each layer', () => {
    using model = openModel(folderOf('ranks', moe, { skew: 1 })).load()
    const orders = [...model.stateDict()].flatMap(([path, weight]) =>
      path.endsWith('mlp.gate.weight')
        ? [tidy(() => Array.from(weight.detach().square().sum([-1]).argsort().toTypedArray<'i64'>()).join())]
        : [],
    )
    expect(new Set(orders).size).toBe(2)
  })
})

test.each([
  [-1, 'must be at least 0, got -1'],
  [1, 'tokens choose 2 of 4 experts, and one gets at most 0.4 of all tokens'],
])('a skew of %d is refused: %s', (skew, message) => {
  const config = readAnyConfig(join(fixtures, 'mixtral'))
  expect(() => drawnSource(config, { skew })).toThrow(message)
})
