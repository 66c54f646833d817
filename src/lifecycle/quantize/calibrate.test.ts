// What a calibration collects, against a walk over tokens one by one.
// Shapes: T tokens, K choices, D model, F expert width.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import {
  type CausalLM,
  ggufTensorsOf,
  noTokenizer,
  openModel,
  openSource,
  parseTypeRules,
  tokensOfSequences,
  writeGgufModel,
} from '../../models/index.ts'
import { type AnyRouting, matricesOf, StackedExperts, type TokenRouting } from '../../moe/index.ts'
import { noGrad, type Tensor, tensor } from '../../torch/index.ts'
import { calibrate, squaresByTensor, type TextBatch } from './calibrate.ts'
import { observeInputs } from './observe.ts'
import { isAlwaysF32 } from './sensitivity.ts'
import { columnImportance, type InputSquares, SquaresTally } from './squares.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))
const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))

const texts: TextBatch = [
  [3, 14, 15, 9, 26, 5, 35, 8],
  [2, 71, 82, 81, 8],
]
const numTokens = texts.flat().length

const loaded = (path: string): CausalLM => openModel(path).load({ kind: 'decoder' })
const names = ['mixtral', 'qwen3_moe', 'olmoe', 'deepseek_v3', 'gpt_oss']

/** The experts of each layer, in order, by the path of their matrices. */
function expertsOf(model: CausalLM): { path: string; experts: StackedExperts }[] {
  return [...model.namedModules()].flatMap(([path, experts]) =>
    experts instanceof StackedExperts ? [{ path, experts }] : [],
  )
}

/** Sums over tokens and choices, one at a time, in the order of the equations. */
function naiveSquares(
  experts: StackedExperts,
  x: Tensor,
  { indices }: TokenRouting,
): Record<'up' | 'down', number[][]> {
  const chosen = [...indices.toTypedArray<'i64'>()].map(Number)
  const topK = indices.size(1)
  const sums = { up: emptyLists(experts.numExperts), down: emptyLists(experts.numExperts) }
  for (const [slot, e] of chosen.entries()) {
    if (e < 0) continue
    const row = x.narrow(0, Math.floor(slot / topK), 1) // [1, D]
    const hidden = experts.form.hidden(row, matricesOf(experts.stacks, e))
    addSquares(sums.up[e] as number[], row)
    addSquares(sums.down[e] as number[], hidden)
  }
  return sums
}

const emptyLists = (length: number): number[][] => Array.from({ length }, () => [])

function addSquares(sums: number[], row: Tensor): void {
  for (const [i, value] of [...row.toTypedArray<'f32'>()].entries()) sums[i] = (sums[i] ?? 0) + value * value
}

describe.each(names)('%s', name => {
  test('collects what each expert is given, and leaves the logits alone', () => {
    noGrad(() => {
      const [plain, model] = [loaded(fixture(name)), loaded(fixture(name))]
      const inputs: Tensor[] = []
      const wanted = expertsOf(plain).map(({ experts }) => experts)
      for (const experts of wanted) {
        const mix = experts.mix.bind(experts)
        experts.mix = (x, routing) => {
          inputs.push(x.clone().persist())
          return mix(x, routing)
        }
      }
      const tokens = tokensOfSequences(texts)
      const { logits, routings } = plain.forward(tokens)
      const tally = new SquaresTally()
      observeInputs(model, tally)
      expectClose(model.forward(tokens).logits, logits, 1e-4)

      for (const [i, { path, experts }] of expertsOf(model).entries()) {
        const { chosen } = routings[i] as { chosen: AnyRouting }
        const sums = naiveSquares(wanted[i] as StackedExperts, inputs[i] as Tensor, chosen as TokenRouting)
        for (const [matrix, lists] of Object.entries(sums) as ['up' | 'down', number[][]][]) {
          const [parameter] = [...plain.stateDict()].find(
            ([, tensor]) => tensor === wanted[i]?.stacks[matrix],
          ) as [string, Tensor]
          expect(parameter.startsWith(path)).toBe(true)
          const found = tally.byParameter.get(parameter) as InputSquares
          const columns = found.sums.length / experts.numExperts
          for (const [e, list] of lists.entries()) {
            const expected = list.length > 0 ? list : new Array<number>(columns).fill(0)
            const sums = tensor(found.sums.slice(e * columns, (e + 1) * columns))
            expectClose(sums, tensor(Float64Array.from(expected)), 1e-4)
          }
          const slots = found.counts.reduce((a, b) => a + b, 0)
          expect(slots).toBe(numTokens * (chosen as TokenRouting).indices.size(1))
        }
      }
    })
  })
})

test('attention reads the normed embedding, once per token', async () => {
  const model = loaded(fixture('mixtral'))
  const ids = tensor(texts.flat()).long()
  const normed = noGrad(() => {
    const layer = model.model.layers[0] as unknown as { input_layernorm: { forward(x: Tensor): Tensor } }
    return layer.input_layernorm.forward(model.model.embed_tokens.forward(ids))
  })
  const squares = await calibrate(model, [texts])
  const found = squares.get('model.layers.0.self_attn.q_proj.weight') as InputSquares
  expect(found.counts).toEqual([numTokens])
  expectClose(tensor(found.sums), normed.double().square().sum(0), 1e-5)
})

test('batches add up', async () => {
  const whole = await calibrate(loaded(fixture('olmoe')), [texts])
  const parts = await calibrate(
    loaded(fixture('olmoe')),
    texts.map(text => [text]),
  )
  for (const [path, { sums, counts }] of whole) {
    expect(parts.get(path)?.counts).toEqual(counts)
    expectClose(tensor(parts.get(path)?.sums ?? new Float64Array()), tensor(sums), 1e-4)
  }
})

test.each([
  ['mixtral', ['token_embd.weight']],
  ['olmoe', ['token_embd.weight']],
  ['gpt_oss', ['token_embd.weight']],
  ['deepseek_v3', ['token_embd.weight', ...[0, 1, 2].map(layer => `blk.${layer}.attn_k_b.weight`)]],
])('%s: all matrices of its GGUF have sums but %j', async (name, without) => {
  const tensors = ggufTensorsOf(openSource(fixture(name)))
  const squares = squaresByTensor(tensors, await calibrate(loaded(fixture(name)), [texts]))
  const missing = tensors.filter(tensor => !isAlwaysF32(tensor) && !squares.has(tensor.name))
  const layers = new Set(without)
  expect(missing.every(tensor => layers.has(tensor.name))).toBe(true)
})

test('stored weights are observed as decoded ones', async () => {
  const file = join(scratch, 'stored.gguf')
  const rules = parseTypeRules('q8_0', 'types')
  writeGgufModel(openSource(fixture('mixtral')), file, { rules, name: 'test', tokenizer: noTokenizer })
  const stored = await calibrate(openModel(file).load({ kind: 'decoder', weights: 'stored' }), [texts])
  const decoded = await calibrate(loaded(file), [texts])
  expect([...stored.keys()].sort()).toEqual([...decoded.keys()].sort())
  for (const [path, { counts }] of decoded) expect(stored.get(path)?.counts).toEqual(counts)
})

test('nothing is left behind', () =>
  expectNoLeak(() => {
    noGrad(() => {
      using model = openModel(fixture('mixtral')).load({ kind: 'decoder' })
      observeInputs(model, new SquaresTally())
      using logits = model.forward(tokensOfSequences(texts)).logits
      expect(logits.size(0)).toBe(numTokens)
    })
  }))

test('no text is refused', () =>
  expect(calibrate(loaded(fixture('mixtral')), [])).rejects.toThrow('no text to calibrate on'))

test('columns count by their mean square, and a little beside; no samples, no importance', () => {
  const squares = { sums: Float64Array.of(8, 0, 0, 0), counts: [4, 0] }
  expect(columnImportance(squares, 0)).toEqual(Float32Array.of(2 + 0.01, 0.01))
  expect(columnImportance(squares, 1)).toBeNull()
})
