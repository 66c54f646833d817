// Models that compute from the weights of their files as they are, against the same weights decoded.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { writeFloat8Folder, writeMxfp4Folder } from '../../../tests/support/block-folders.ts'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { scoreSteadily } from '../../moe/index.ts'
import { PagedCache } from '../../nn/index.ts'
import {
  arange,
  encodedRows,
  inferenceMode,
  manualSeed,
  memoryUse,
  randint,
  rowsOfPanels,
  type Tensor,
  tidy,
} from '../../torch/index.ts'
import {
  type AnyModel,
  createModel,
  EncoderDecoderLM,
  type LoadOptions,
  noTokenizer,
  openModel,
  openSource,
  parseModelConfig,
  parseTypeRules,
  saveModel,
  tokensOf,
  tokensOfSequences,
  writeGgufModel,
  writeModelFolder,
} from '../index.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))

function logitsOf(model: AnyModel): Tensor {
  const tokens = tokensOf(randint(3, 90, [2, 9], { seed: 1 }))
  return inferenceMode(() =>
    model instanceof EncoderDecoderLM ? model.forward(tokens, tokens).logits : model.forward(tokens).logits,
  )
}

const encodedOf = (model: AnyModel): string[] =>
  [...model.namedParameters()].flatMap(([path, { encoding }]) => (encoding === null ? [] : path))

function withModel<T>(path: string, options: LoadOptions, use: (model: AnyModel) => T): T {
  using model = openModel(path).load(options)
  return tidy(() => use(model))
}

/** Mean squared error of logits over their mean square. */
function errorOf(path: string): number {
  const stored = withModel(path, { weights: 'stored' }, model => logitsOf(model).to('f64').tolist())
  const decoded = withModel(path, {}, model => logitsOf(model).to('f64').tolist())
  const [a, b] = [stored, decoded].map(rows => (rows as number[][]).flat()) as [number[], number[]]
  const squares = (values: readonly number[]): number => values.reduce((sum, value) => sum + value ** 2, 0)
  return squares(a.map((value, i) => value - (b[i] ?? 0))) / squares(b)
}

const architectures = [
  ...['mixtral', 'qwen2_moe', 'qwen3_moe', 'olmoe', 'gpt_oss', 'granitemoe', 'phimoe'],
  ...['deepseek_v2', 'deepseek_v3', 'glm4_moe', 'switch_transformers', 'nllb_moe'],
]

describe.each(architectures)('%s', name => {
  test.each(['bf16', 'f16'] as const)('computes from %s as from its f32', dtype => {
    const folder = join(scratch, `${name}-${dtype}`)
    writeModelFolder(folder, openSource(fixture(name)), { dtype })
    expectNoLeak(() => {
      withModel(folder, { weights: 'stored' }, model => {
        const encoded = encodedOf(model)
        expect(encoded.some(path => path.includes('q_proj') || path.includes('kv_a_proj'))).toBe(true)
        expect(encoded.some(path => path.includes('.experts.'))).toBe(true)
        const parameters = model.namedParameters()
        const roles = new Set(encoded.map(path => parameters.get(path)?.declaration.role))
        expect(roles.has('router') || roles.has('norm')).toBe(false)
      })
      expect(errorOf(folder)).toBeLessThan(1e-11) // sums of f32 in another order
    })
  })
})

// Latent attention is computed by libraries' products; the last two are no decoders.
const exceptions = ['deepseek_v2', 'deepseek_v3', 'switch_transformers', 'nllb_moe']

describe.each(architectures.filter(name => !exceptions.includes(name)))('%s', name => {
  test.each(['f32', 'bf16', 'f16'] as const)(
    'from %s: what is read beside a text changes no bit of it',
    dtype => {
      const folder = join(scratch, `${name}-alone-${dtype}`)
      writeModelFolder(folder, openSource(fixture(name)), { dtype })
      using model = openModel(folder).load({ kind: 'decoder', weights: 'stored' })
      scoreSteadily(model)
      const text = (length: number, step: number): number[] =>
        Array.from({ length }, (_, i) => 3 + ((i * step) % 80))
      /** Of 7 tokens that are read together, as a server reads them, and of one more. */
      const logits = (others: readonly number[][]): Tensor[] => {
        using cache = new PagedCache(model, { sequences: 3, capacity: 128, pageTokens: 128, pages: 3 })
        for (const [i, pages] of cache.pages.entries()) pages.push(i)
        const read = (texts: readonly number[][]): Tensor =>
          model.forward(tokensOfSequences(texts, { past: cache.lengths }), { cache }).logits
        return inferenceMode(() => [
          read([text(7, 5), ...others]).narrow(0, 0, 7),
          read([[4], ...others.map((_, i) => [5 + i])]).narrow(0, 0, 1),
        ])
      }
      tidy(() => {
        const alone = logits([[], []])
        for (const others of [
          [text(1, 3), []],
          [text(9, 7), text(40, 11)],
        ])
          for (const [i, got] of logits(others).entries()) expectClose(got, alone[i] ?? got.neg(), 0)
      })
    },
  )
})

/** A model of sizes that blocks divide. */
function widened(name: string): string {
  const json = JSON.parse(readFileSync(join(fixture(name), 'config.json'), 'utf8'))
  const sizes = { hidden_size: 256, intermediate_size: 256, moe_intermediate_size: 256 }
  const config = parseModelConfig({ ...json, ...sizes, mlp_only_layers: [] }, name)
  manualSeed(1)
  using model = createModel(config)
  const folder = join(scratch, `${name}-f32`)
  saveModel(folder, model, config)
  return folder
}

/** The same in a GGUF file. */
function quantized(name: string, type: string): string {
  const file = join(scratch, `${name}-${type}.gguf`)
  const rules = parseTypeRules(type, 'types')
  writeGgufModel(openSource(widened(name)), file, { rules, name: 'test', tokenizer: noTokenizer })
  return file
}

describe.each(['mixtral', 'qwen3_moe', 'olmoe', 'deepseek_v2', 'gpt_oss'])('%s in GGUF', name => {
  // Activations in 8 bits: 5e-4 for each of the products on the way to a logit, at most eight here. Rows that blocks of 256
  // do not divide are Q8_0 or Q4_0 in a file of Q4_K.
  test.each(['q8_0', 'q4_k'])('computes from %s blocks', type => {
    const file = quantized(name, type)
    expect(errorOf(file)).toBeLessThan(4e-3)
  })
})

describe.each([
  ['gpt_oss', 'MXFP4', writeMxfp4Folder, 'MXFP4'],
  ['deepseek_v3', 'FP8', writeFloat8Folder, 'F8_E4M3_B128'],
] as const)('%s in %s, whose scales lie apart', (name, _, write, encoding) => {
  const folder = join(scratch, `${name}-apart`)
  write(widened(name), folder)

  test('keeps its experts as they are, to the bit', () => {
    using decoded = openModel(folder).load()
    withModel(folder, { weights: 'stored' }, model => {
      const wanted = decoded.stateDict()
      const experts = [...model.namedParameters()].filter(([path]) => /experts\.\w+_proj$/.test(path))
      for (const [path, parameter] of experts) {
        expect(rowsOfPanels(parameter.encoding ?? '')).toBe(encoding)
        const [count = 0, rows = 0] = parameter.shape
        for (let e = 0; e < count; e++) {
          const values = encodedRows(parameter.select(0, e), parameter.encoding ?? '', arange(0, rows))
          expectClose(values, wanted.get(path)?.select(0, e) ?? values.neg(), 0)
        }
      }
      expect(experts.length).toBeGreaterThan(1)
    })
  })

  // As blocks of GGUF; what is not in panels meets activations in f32.
  test('computes from them', () => {
    expect(errorOf(folder)).toBeLessThan(encoding === 'MXFP4' ? 4e-3 : 1e-11)
  })
})

describe.each(['mixtral', 'qwen3_moe', 'olmoe', 'gpt_oss'])('%s', name => {
  test.each(['q8_0', 'q8_0,experts=q4_k', 'bf16,experts=mxfp4'])(
    'rounded to %s while loading is as from such a file',
    types => {
      const folder = widened(name)
      const file = join(scratch, `${name}-rounded.gguf`)
      writeGgufModel(openSource(folder), file, {
        ...{ rules: parseTypeRules(types, 'types'), name: 'test', tokenizer: noTokenizer },
      })
      const wanted = withModel(file, { weights: 'stored' }, model => logitsOf(model).tolist())
      withModel(folder, { weights: types }, model => {
        expect(logitsOf(model).tolist()).toEqual(wanted)
        expect(encodedOf(model).some(path => path.includes('.experts.'))).toBe(true)
      })
    },
  )
})

test('rounding says what it cannot do', () => {
  expect(() => openModel(fixture('mixtral')).load({ weights: 'q9' })).toThrow("weights: 'q9' is not a type")
  expect(() => openModel(fixture('mixtral')).load({ weights: 'q8_0,router=q8_0' })).toThrow(
    'weights: routers stay in f32: leave router=q8_0 out',
  )
  expect(() => openModel(fixture('mixtral')).load({ weights: 'q8_0', dtype: 'bf16' })).toThrow(
    'weights: q8_0 weights are computed on the CPU in f32',
  )
})

test('a loaded model takes the memory of its file', () => {
  const file = quantized('mixtral', 'q8_0')
  const before = memoryUse().bytes
  withModel(file, { weights: 'stored' }, model => {
    const numbers = model.numParameters * 4
    const own = memoryUse().bytes - before // what is mapped is no memory of its own
    expect(own).toBeLessThan(0.3 * numbers)
  })
})

test('halves at odd addresses, behind a header of odd length, are decoded', () => {
  const folder = join(scratch, 'odd')
  writeModelFolder(folder, openSource(fixture('mixtral')), { dtype: 'bf16' })
  const file = join(folder, 'model.safetensors')
  const bytes = readFileSync(file)
  const length = Number(bytes.readBigUInt64LE(0))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(length + 1))
  writeFileSync(
    file,
    Buffer.concat([prefix, bytes.subarray(8, 8 + length), Buffer.from(' '), bytes.subarray(8 + length)]),
  )
  withModel(folder, { weights: 'stored' }, model => expect(encodedOf(model)).toEqual([]))
  expect(errorOf(folder)).toBe(0)
})

test('there is no gradient, and no other device or type', () => {
  const folder = join(scratch, 'mixtral-bf16')
  writeModelFolder(folder, openSource(fixture('mixtral')), { dtype: 'bf16' })
  expect(() => openModel(folder).load({ weights: 'stored', dtype: 'bf16' })).toThrow(
    'weights: stored weights are computed on the CPU in f32',
  )
  withModel(folder, { weights: 'stored' }, model => {
    for (const parameter of model.parameters())
      expect(parameter.encoding && parameter.requiresGrad).toBeFalsy()
  })
})
