// Models as files whose blocks are fitted: types, errors, and what is left alone.

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { codecs, type GgmlTypeName, readGgufHeader } from '../../formats/index.ts'
import {
  createModel,
  ggufTensorsOf,
  noTokenizer,
  openModel,
  openSource,
  parseModelConfig,
  parseTypeRules,
  saveModel,
  tokensOfSequences,
  writeGgufModel,
} from '../../models/index.ts'
import { manualSeed, noGrad } from '../../torch/index.ts'
import { calibrate, squaresByTensor, type TextBatch } from './calibrate.ts'
import { Hessians } from './hessians.ts'
import { type QuantizedModel, quantizeModel, type TypePlan } from './quantize.ts'
import { columnImportance, type InputSquares } from './squares.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))
const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))

const texts: TextBatch = [
  [3, 14, 15, 9, 26, 5, 35, 8],
  [2, 71, 82, 81, 8],
  [44, 45, 46],
]
const target = (name: string): string => join(scratch, `${name}.gguf`)

async function squaresOf(folder: string, batches: readonly TextBatch[] = [texts]) {
  const model = openModel(folder).load({ kind: 'decoder' })
  return squaresByTensor(ggufTensorsOf(openSource(folder)), await calibrate(model, batches))
}

const rulesOf = (type: string): TypePlan => ({ kind: 'rules', rules: parseTypeRules(type, 'types') })

function quantized(
  folder: string,
  file: string,
  plan: TypePlan,
  squares: ReadonlyMap<string, InputSquares>,
): QuantizedModel {
  return quantizeModel(openSource(folder), file, { plan, squares, name: 'test', tokenizer: noTokenizer })
}

/** A tensor's bytes in a file. */
function bytesIn(file: string, name: string): Uint8Array {
  const tensor = readGgufHeader(file).tensors.get(name)
  if (!tensor) throw new Error(`${file} has no ${name}`)
  return readFileSync(file).subarray(tensor.offset, tensor.offset + tensor.length)
}

function decoded(file: string, name: string): Float32Array {
  const { type, shape } = readGgufHeader(file).tensors.get(name) as { type: GgmlTypeName; shape: number[] }
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1))
  if (type === 'F32') return new Float32Array(Uint8Array.from(bytesIn(file, name)).buffer)
  codecs[type]?.decode(Uint8Array.from(bytesIn(file, name)), values)
  return values
}

/** The equation of ErrorSum, number by number. */
function naiveError(w: Float32Array, q: Float32Array, squares: InputSquares): number {
  const matrices = squares.counts.length
  const [columns, size] = [squares.sums.length / matrices, w.length / matrices]
  const samples = squares.counts.reduce((a, b) => a + b, 0)
  let [error, norm] = [0, 0]
  for (let e = 0; e < matrices; e++) {
    const importance = columnImportance(squares, e)
    const share = (squares.counts[e] ?? 0) / samples
    for (let n = e * size; n < (e + 1) * size; n++) {
      const weight = share * (importance?.[n % columns] ?? 1)
      error += weight * ((w[n] ?? 0) - (q[n] ?? 0)) ** 2
      norm += weight * (w[n] ?? 0) ** 2
    }
  }
  return error / norm
}

describe.each(['mixtral', 'olmoe', 'deepseek_v3', 'gpt_oss'])('%s', name => {
  test('is written by rules; routers, vectors and biases stay F32, and it can be read', async () => {
    const file = target(`${name}-q4_0`)
    const squares = await squaresOf(fixture(name))
    const { tensors } = quantized(fixture(name), file, rulesOf('q4_0'), squares)
    const types = new Map([...readGgufHeader(file).tensors].map(([name, { type }]) => [name, type]))
    expect(tensors.map(({ name, type }) => [name, type])).toEqual([...types])
    for (const [tensor, type] of types)
      if (/norm|ffn_gate_inp|exp_probs_b|bias/.test(tensor)) expect([tensor, type]).toEqual([tensor, 'F32'])
    const { logits } = noGrad(() =>
      openModel(file).load({ kind: 'decoder' }).forward(tokensOfSequences(texts)),
    )
    expect(logits.isfinite().all().item()).toBe(1)
  })

  test('reports the errors that the equation gives', async () => {
    const [file, exact] = [target(`${name}-mxfp4`), target(`${name}-f32`)]
    const squares = await squaresOf(fixture(name))
    const { tensors } = quantized(fixture(name), file, rulesOf('mxfp4'), squares)
    const rules = parseTypeRules('f32', 'types')
    writeGgufModel(openSource(fixture(name)), exact, { rules, name: 'test', tokenizer: noTokenizer })
    const rounded = tensors.filter(({ error, samples }) => error !== null && samples !== null)
    expect(rounded.length).toBeGreaterThan(4)
    for (const { name: tensor, error } of rounded.slice(0, 6)) {
      const expected = naiveError(
        decoded(exact, tensor),
        decoded(file, tensor),
        squares.get(tensor) as InputSquares,
      )
      expect(error).toBeCloseTo(expected, 6)
    }
  })
})

describe('experts that no token chose', () => {
  test('are named, and rounded to nearest, bytes and all', async () => {
    const folder = fixture('deepseek_v3')
    const squares = await squaresOf(folder, [[[7, 8]]])
    const [file, plain] = [target('unseen'), target('plain')]
    const { tensors } = quantized(folder, file, rulesOf('q4_0'), squares)
    const rules = parseTypeRules('q4_0', 'types')
    writeGgufModel(openSource(folder), plain, { rules, name: 'test', tokenizer: noTokenizer })
    const stacked = tensors.filter(({ name }) => name.includes('_exps'))
    expect(stacked.length).toBeGreaterThan(0)
    for (const { name, samples } of stacked) {
      const { counts } = squares.get(name) as InputSquares
      const unseen = [...counts.keys()].filter(e => counts[e] === 0)
      expect(samples?.unseen).toEqual(unseen)
      expect(samples?.least).toBe(0)
      const [fitted, nearest] = [bytesIn(file, name), bytesIn(plain, name)]
      const size = fitted.length / counts.length
      for (const e of unseen)
        expect(fitted.subarray(e * size, (e + 1) * size)).toEqual(nearest.subarray(e * size, (e + 1) * size))
    }
  })
})

describe('GPTQ', () => {
  test.each(['mixtral', 'olmoe', 'deepseek_v3'])(
    '%s: loses less where samples suffice, and says where they did not',
    async name => {
      const folder = fixture(name)
      const many = [0, 1, 2, 3].map(seed => [Array.from({ length: 60 }, (_, i) => (i * i + seed * 31) % 96)])
      const byParameter = await calibrate(openModel(folder).load({ kind: 'decoder' }), many)
      const squares = squaresByTensor(ggufTensorsOf(openSource(folder)), byParameter)
      using hessians = new Hessians(openModel(folder).load({ kind: 'decoder' }), many, byParameter)
      const options = { plan: rulesOf('q4_0'), squares, name: 'test', tokenizer: noTokenizer }
      const { tensors } = quantizeModel(openSource(folder), target(`${name}-gptq`), { ...options, hessians })
      const rounded = tensors.filter(({ methods }) => (methods?.gptq ?? 0) > 0)
      expect(rounded.length).toBeGreaterThan(4)
      const sum = (of: 'error' | 'plainError'): number =>
        rounded.reduce((all, tensor) => all + (tensor[of] ?? 0), 0)
      expect(sum('error')).toBeLessThan(0.9 * sum('plainError'))
      for (const { name: tensor, methods } of tensors) {
        const { counts = [], sums = [] } = squares.get(tensor) ?? {}
        const enough = counts.filter(count => count >= sums.length / counts.length).length
        if (methods) expect([tensor, methods.gptq]).toEqual([tensor, enough])
      }
    },
  )
})

describe('a model of whole super-blocks', () => {
  const folder = join(scratch, 'wide')
  let squares: ReadonlyMap<string, InputSquares>

  beforeAll(async () => {
    const fields = JSON.parse(readFileSync(join(fixture('mixtral'), 'config.json'), 'utf8')) as object
    const config = parseModelConfig({ ...fields, hidden_size: 256, intermediate_size: 256 })
    manualSeed(1)
    mkdirSync(folder)
    saveModel(folder, createModel(config), config)
    squares = await squaresOf(folder)
  })

  test.each(['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k', 'iq4_nl', 'iq4_xs'])(
    '%s: what counts is nearer than to nearest',
    type => {
      const { tensors } = quantized(folder, target(`wide-${type}`), rulesOf(type), squares)
      const sum = (of: 'error' | 'plainError'): number =>
        tensors.reduce((all, tensor) => all + (tensor[of] ?? 0), 0)
      expect(sum('error')).toBeLessThan(sum('plainError'))
    },
  )

  const types: GgmlTypeName[] = ['Q8_0', 'Q6_K', 'Q4_K', 'Q3_K', 'Q2_K']

  test('a budget holds, and more bits lose less', () => {
    const errors = [3, 4, 5.5].map(bitsPerWeight => {
      const plan: TypePlan = { kind: 'budget', budget: { bitsPerWeight }, types }
      const result = quantized(folder, target(`wide-${bitsPerWeight}`), plan, squares)
      expect(result.bitsPerWeight).toBeLessThanOrEqual(bitsPerWeight)
      expect(result.bitsPerWeight).toBeGreaterThan(bitsPerWeight - 0.5)
      return result.tensors.reduce((all, { error }) => all + (error ?? 0), 0)
    })
    expect(errors).toEqual([...errors].sort((a, b) => b - a))
  })

  test('tensors that are one parameter in memory have one type', () => {
    const plan: TypePlan = { kind: 'budget', budget: { bytes: 1_200_000 }, types }
    const result = quantized(folder, target('wide-size'), plan, squares)
    expect(result.tensors.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(1_200_000)
    const typeOf = (name: string) => result.tensors.find(tensor => tensor.name === `${name}.weight`)?.type
    for (const layer of [0, 1])
      expect(typeOf(`blk.${layer}.ffn_gate_exps`)).toBe(typeOf(`blk.${layer}.ffn_up_exps`))
  })

  test('a budget that cannot be met is refused, with what could be', () => {
    const plan: TypePlan = { kind: 'budget', budget: { bitsPerWeight: 1 }, types }
    expect(() => quantized(folder, target('wide-1'), plan, squares)).toThrow(
      /^budget: allows \d+ bytes, but the smallest types take \d+, [\d.]+ bits per weight: allow more/,
    )
  })

  test('sums of another model are refused', async () => {
    const others = await squaresOf(fixture('mixtral'))
    expect(() => quantized(folder, target('other'), rulesOf('q8_0'), others)).toThrow(
      /it is of another model/,
    )
    expect(() => quantized(folder, target('other'), rulesOf('q8_0'), new Map())).toThrow(/names no tensor/)
  })
})
