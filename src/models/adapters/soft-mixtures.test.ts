// Mixtures around the linear layers of models of every architecture.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { decoders, encoderDecoders, fixture } from '../../../tests/support/fixtures.ts'
import { disturbAdapters, expectTrueGradients } from '../../../tests/support/gradients.ts'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import { Linear } from '../../nn/index.ts'
import { manualSeed, noGrad, randint, randn, stack, type Tensor, tidy } from '../../torch/index.ts'
import { loadAdapters, saveAdapters } from '../files/adapter/adapter-files.ts'
import { openModel } from '../files/open.ts'
import { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import { tokensOf } from '../stack/tokens.ts'
import type { TrainableModel } from '../stack/trainable.ts'
import { adapterSchema, attachAdapters } from './attach.ts'
import { MoLoraLinear, MovLinear } from './soft-mixtures.ts'

const open = (path: string): TrainableModel =>
  openModel(path).load({ dtype: 'f64', mapped: false }) as TrainableModel

const ids = randint(3, 90, [2, 8], { seed: 3 }).persist()

/** Mean cross-entropy of each id on the one before it, the same ids being read. */
function lossOf(model: TrainableModel): Tensor {
  const [inputs, targets] = [tokensOf(ids), ids.reshape([-1])]
  return model instanceof EncoderDecoderLM
    ? model.loss(inputs, inputs, targets).loss
    : model.loss(inputs, targets).loss
}

const lossIn = (model: TrainableModel): number => noGrad(() => tidy(() => lossOf(model).item()))

const kinds = [
  ['molora', { rank: 2, alpha: 4, experts: 3 }],
  ['mov', { experts: 3 }],
] as const

describe.each([...decoders, ...encoderDecoders])('%s', name => {
  test.each(kinds)(
    '%s changes nothing at first, then something, and is opened from its files',
    (kind, of) => {
      const config = adapterSchema.parse({ kind, ...of, on: ['attention', 'dense', 'shared', 'head'] })
      const folder = temporaryFolder()
      tidy(() => {
        const model = open(fixture(name))
        const before = lossIn(model)
        const adapters = attachAdapters(model, config)
        model.to('f64').eval()
        expect(lossIn(model)).toBeCloseTo(before, 13) // the weights of experts sum to one but for their rounding
        disturbAdapters(adapters)
        const after = lossIn(model)
        expect(Math.abs(after - before)).toBeGreaterThan(1e-4)
        saveAdapters(folder, { adapters, config, base: fixture(name), whole: new Map() })
        expect(lossIn(open(folder))).toBe(after)
        const other = open(fixture(name))
        const others = attachAdapters(other, config)
        other.to('f64').eval()
        loadAdapters(folder, { adapters: others, config, base: 'x', whole: new Map() })
        expect(lossIn(other)).toBe(after)
      })
    },
  )

  test.each(kinds)('gradients of %s are those of finite differences, and no others are there', (kind, of) => {
    tidy(() => {
      const model = open(fixture(name))
      const adapters = attachAdapters(model, adapterSchema.parse({ kind, ...of, on: ['attention', 'dense'] }))
      model.to('f64').eval()
      disturbAdapters(adapters)
      const own = new Set<string>()
      for (const [path, parameter] of model.namedParameters())
        if (parameter.declaration.role === 'adapter') own.add(path)
        else parameter.requiresGrad_(false)
      expectTrueGradients(
        model,
        () => lossOf(model),
        path => own.has(path),
      )
    })
  })
})

test('settings that want more than the file has are refused before memory is taken', () => {
  const folder = temporaryFolder()
  const base = fixture(decoders[0])
  const config = adapterSchema.parse({ kind: 'molora', rank: 2, experts: 3 })
  const model = open(base)
  saveAdapters(folder, { adapters: attachAdapters(model, config), config, base, whole: new Map() })
  model.dispose()
  const file = join(folder, 'adapter_config.json')
  const adapter = { ...config, rank: 4096, experts: 1024 }
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), adapter }))
  const before = process.resourceUsage().maxRSS
  expectNoLeak(() =>
    expect(() => open(folder)).toThrow(
      /adapter_model\.safetensors: has \d+ numbers, and adapter_config\.json wants \d+: they are not of one adapter/,
    ),
  )
  expect(process.resourceUsage().maxRSS - before).toBeLessThan(500_000) // in KiB; as wanted it would be gigabytes
})

describe('a layer', () => {
  const x = randn([5, 4], { dtype: 'f64', seed: 1 }).persist()
  const weightsOf = (scores: Tensor): number[][] => scores.softmax(-1).tolist() as number[][]

  test('of MoLoRA adds the sums of its experts, weighed', () => {
    manualSeed(1)
    const layer = new MoLoraLinear(new Linear(4, 6), 3, { rank: 2, alpha: 3, dropout: 0 }).to('f64')
    disturbAdapters(new Map([['layer', layer]]))
    const { base, gate, lora_A, lora_B } = layer
    const weights = weightsOf(x.matmul(gate.weight.t()))
    const rows = weights.map((each, t) => {
      const deltas = each.map((w, e) =>
        lora_B
          .select(0, e)
          .matmul(lora_A.select(0, e))
          .mul((w * 3) / 2),
      )
      return base
        .forward(x)
        .select(0, t)
        .add(deltas.reduce((sum, delta) => sum.add(delta)).matmul(x.select(0, t)))
    })
    expect(layer.forward(x).sub(stack(rows)).abs().max().item()).toBeLessThan(1e-14)
    expect(
      layer
        .forward(x.view([1, 5, 4]))
        .squeeze(0)
        .equal(layer.forward(x)),
    ).toBe(true)
  })

  test('of MoV is scaled by the sum of its vectors, weighed', () => {
    manualSeed(1)
    const layer = new MovLinear(new Linear(4, 6), 3).to('f64')
    disturbAdapters(new Map([['layer', layer]]))
    const weights = weightsOf(x.matmul(layer.gate.weight.t()))
    const rows = weights.map((each, t) => {
      const scale = each.map((w, e) => layer.vectors.select(0, e).mul(w)).reduce((sum, one) => sum.add(one))
      return layer.base.forward(x).select(0, t).mul(scale)
    })
    expect(layer.forward(x).sub(stack(rows)).abs().max().item()).toBeLessThan(1e-14)
  })
})
