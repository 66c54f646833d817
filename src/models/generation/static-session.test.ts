// Steps of fixed shapes score as steps of growing ones do.

import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import { kernelNames, manualSeed, runtimeInfo, withKernels } from '../../torch/index.ts'
import {
  type CausalLM,
  createModel,
  type LoadOptions,
  type MistralConfig,
  openModel,
  parseModelConfig,
  type Rows,
  type Session,
} from '../index.ts'
import { decoderSession } from './decoder-session.ts'
import { staticSession } from './static-session.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))

const loadModel = (name: string, options: LoadOptions = {}): CausalLM =>
  openModel(fixture(name)).load({ kind: 'decoder', ...options })

const prompts = [
  [5, 6, 7, 8, 9, 10],
  [11, 12],
  [20, 21, 22, 23],
]
const written = [
  [3, 1, 4],
  [1, 5, 9],
  [2, 6, 5],
  [3, 5, 8],
]

/** Scores of the prompts and of each step after them. */
function scoresOf(session: Session): number[][] {
  using _ = session
  const steps: Rows[] = [session.first, ...written.map(ids => ids.map(id => [id]))]
  return steps.flatMap(fresh => session.next(fresh).map(row => Array.from(row)))
}

function modelOf(name: string): CausalLM {
  if (name !== 'a window') return loadModel(name, { dtype: 'f64' })
  manualSeed(1)
  const config = parseModelConfig(
    {
      model_type: 'mistral',
      vocab_size: 40,
      hidden_size: 16,
      intermediate_size: 16,
      num_hidden_layers: 3,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      sliding_window: 3,
      initializer_range: 0.3,
    },
    'test',
  ) as MistralConfig
  return createModel(config).to('f64').eval()
}

describe.each(['mixtral', 'olmoe', 'qwen3_moe', 'granitemoe', 'glm4_moe', 'phimoe', 'a window'])(
  '%s',
  name => {
    test('scores unequal prompts as an ordinary cache does', () => {
      const model = modelOf(name)
      expect(model.decodesStatically).toBe(true)
      const options = { prompts, newTokens: written.length }
      expectNoLeak(() => {
        const wanted = scoresOf(decoderSession(model, options))
        const got = scoresOf(staticSession(model, options))
        expect(got.length).toBe(wanted.length)
        for (const [i, row] of wanted.entries()) {
          // Sums in f64, given out in f32: scores of order ten may be rounded to either side, 2^-20 apart.
          for (const [j, score] of row.entries())
            expect(Math.abs((got[i]?.[j] ?? 9e9) - score)).toBeLessThan(2e-6)
        }
      })
      model.dispose()
    })
  },
)

test.each(['gpt_oss', 'deepseek_v3'])('%s decodes by an ordinary cache', name => {
  const model = loadModel(name)
  expect(model.decodesStatically).toBe(false)
  model.dispose()
})

describe.skipIf(!runtimeInfo().cuda)('on CUDA', () => {
  test.each([
    ['as a graph', kernelNames],
    ['step by step, where experts wait for their counts', kernelNames.filter(name => name !== 'experts')],
  ])('%s', (_, kernels) => {
    const model = loadModel('mixtral', { device: 'cuda' })
    const options = { prompts, newTokens: written.length }
    withKernels(kernels, () => {
      const wanted = scoresOf(decoderSession(model, options))
      const got = scoresOf(staticSession(model, options))
      for (const [i, row] of wanted.entries()) {
        // f32 scores of order ten after some hundred roundings of 2^-24 each.
        for (const [j, score] of row.entries())
          expect(Math.abs((got[i]?.[j] ?? 9e9) - score)).toBeLessThan(1e-4)
      }
    })
    model.dispose()
  })
})
