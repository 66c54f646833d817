import { describe, expect, test } from 'vitest'
import { decoders, encoderDecoders, fixture } from '../../../tests/support/fixtures.ts'
import { expectTrueGradients } from '../../../tests/support/gradients.ts'
import { StackedExperts } from '../../moe/index.ts'
import type { Module } from '../../nn/index.ts'
import { manualSeed, noGrad, randn, type Tensor, tensor, tidy } from '../../torch/index.ts'
import { openModel } from '../files/open.ts'
import { DecoderLayer } from './decoder.ts'
import { dropoutSchema, setDropout } from './dropout.ts'
import { EncoderDecoderLM } from './encoder-decoder.ts'
import { tokensOfSequences } from './tokens.ts'

const ids = [5, 9, 2, 7, 3, 8, 6, 4]
const target = tensor(ids.map(BigInt))

/** The loss of a decoder or encoder-decoder of the fixtures, in f64. */
function lossOf(name: string) {
  const model = openModel(fixture(name)).load({ kind: 'text', dtype: 'f64' })
  const tokens = tokensOfSequences([ids])
  const loss = (): Tensor =>
    model instanceof EncoderDecoderLM
      ? model.loss(tokens, tokens, target).loss
      : model.loss(tokens, target).loss
  return { model, loss }
}

const expertsOf = (model: Module): StackedExperts[] =>
  [...model.namedModules()].flatMap(([, module]) => (module instanceof StackedExperts ? module : []))

describe.each([
  ['mixtral', { hidden: 0.3, experts: 0.4 }],
  ['gpt_oss', { experts: 0.4 }],
  ['switch_transformers', { hidden: 0.2, attention: 0.3, experts: 0.4 }],
  ['nllb_moe', { attention: 0.5 }],
] as const)('%s', (name, rates) => {
  test('drops in training alone, by chance that a seed repeats', () =>
    noGrad(() =>
      tidy(() => {
        const { model, loss } = lossOf(name)
        const value = (seed: number): number => {
          manualSeed(seed)
          return loss().item()
        }
        model.eval()
        const before = value(1)
        setDropout(model, dropoutSchema.parse(rates))
        expect(value(2)).toBe(before)
        model.train()
        const dropped = [1, 2, 1].map(value)
        expect(dropped[0]).not.toBe(before)
        expect(dropped[1]).not.toBe(dropped[0])
        expect(dropped[2]).toBe(dropped[0])
      }),
    ))

  test('its gradients are those of what was dropped', () =>
    tidy(() => {
      const { model, loss } = lossOf(name)
      setDropout(model, dropoutSchema.parse(rates))
      model.train()
      const same = (): Tensor => {
        manualSeed(3)
        return loss()
      }
      expectTrueGradients(model, same, path => {
        const { grad } = model.namedParameters().get(path) ?? {}
        return grad !== null && grad !== undefined
      })
    }))
})

test.each([...decoders, ...encoderDecoders])('hidden units of the experts of %s, in training alone', name =>
  noGrad(() =>
    tidy(() => {
      const [dropping, plain] = [0.5, 0].map(rate => {
        const model = openModel(fixture(name)).load({ kind: 'text' }).train()
        setDropout(model, dropoutSchema.parse({ experts: rate }))
        return expertsOf(model)
      }) as [StackedExperts[], StackedExperts[]]
      const x = randn([64, dropping[0]?.stacks.down.shape[1] ?? 0], { seed: 1 })
      for (const [i, each] of dropping.entries()) {
        const whole = plain[i]?.expert(1, x) ?? x
        expect(each.expert(1, x).equal(whole)).toBe(false)
        each.eval()
        expect(each.expert(1, x).equal(whole)).toBe(true)
      }
    }),
  ),
)

test('what stays is scaled up, so that the mean is as without', () =>
  noGrad(() =>
    tidy(() => {
      const { model } = lossOf('mixtral')
      setDropout(model.train(), dropoutSchema.parse({ hidden: 0.25 }))
      const layer = [...model.namedModules()]
        .map(([, module]) => module)
        .find(module => module instanceof DecoderLayer)
      const ones = tensor([1]).expand([100_000])
      manualSeed(1)
      const dropped = (layer as DecoderLayer).dropout.forward(ones)
      // A standard error of sqrt(0.25 * 0.75 / 1e5) / 0.75 = 0.0018; five of them.
      expect(Math.abs(dropped.mean().item() - 1)).toBeLessThan(0.01)
      expect(dropped.max().item()).toBeCloseTo(1 / 0.75, 6)
    }),
  ))

test('rates without a place are refused, and what was made with a rate keeps it', () => {
  const { model } = lossOf('mixtral')
  expect(() => setDropout(model, dropoutSchema.parse({ attention: 0.1 }))).toThrow(
    'dropout.attention: this model has no place for it',
  )
  const experts = expertsOf(model)
  for (const each of experts) each.dropout = 0.2
  setDropout(model, dropoutSchema.parse({ hidden: 0.1 }))
  expect(new Set(experts.map(({ dropout }) => dropout))).toEqual(new Set([0.2]))
})
