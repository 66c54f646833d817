// Encoder-decoders learn: their losses as transformers has them, and gradients against finite differences.
import { describe, expect, test } from 'vitest'
import { encoderDecoders, fixture } from '../../../tests/support/fixtures.ts'
import { expectTrueAdapterGradients, expectTrueGradients } from '../../../tests/support/gradients.ts'
import { pairsFor } from '../../../tests/support/pairs.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import {
  architectureOf,
  createModel,
  EncoderDecoderLM,
  type FeedForward,
  openModel,
} from '../../models/index.ts'
import type { MoeOutput } from '../../moe/index.ts'
import { manualSeed, randn, type Tensor, tidy } from '../../torch/index.ts'
import { computeObjective, lossesSchema } from '../objective.ts'
import { AdamW } from '../optimizer/adamw.ts'
import { pairBatch } from '../pairs.ts'
import { trainStep } from '../step.ts'
import { TrainedParameters } from './trained.ts'

function open(name: string, dtype: 'f32' | 'f64' = 'f32'): EncoderDecoderLM {
  const model = openModel(fixture(name)).load({ kind: 'text', dtype, mapped: false })
  if (model instanceof EncoderDecoderLM) return model
  throw new Error(`${name} is no encoder-decoder`)
}

/** The model's own losses, but ten times as heavy, so that their gradients show. */
const losses = lossesSchema.parse({
  balance: { kind: 'mixtral-hf', coefficient: 0.01, scope: 'sequence' },
  z: { coefficient: 0.01, layers: 'mean' },
})

const total = (model: EncoderDecoderLM): Tensor => computeObjective(model, pairsFor(model), losses).total

describe.each(encoderDecoders)('%s', name => {
  test('gradients of everything are those of finite differences in f64', () => {
    tidy(() => {
      const model = open(name, 'f64').train() // there is neither jitter nor token dropout in what was recorded
      for (const parameter of model.parameters()) parameter.requiresGrad_(true)
      expectTrueGradients(model, () => total(model))
    })
  })

  test('with adapters these alone move, and their gradients are those of finite differences', () => {
    tidy(() => {
      const model = open(name, 'f64')
      expectTrueAdapterGradients(model, () => total(model))
    })
  })

  test('a batch is the mean over its targets of each pair alone', () => {
    tidy(() => {
      const model = open(name, 'f64').eval()
      const start = model.config.decoder_start_token_id
      const pairs = [
        { source: [5, 6, 7], target: [8, 9, 2] },
        { source: [10, 11], target: [12, 2], taught: [false, true] },
      ]
      const lossOf = (some: typeof pairs): number => {
        const { source, inputs, targets } = pairBatch(some, start)
        return model.loss(source, inputs, targets).loss.item()
      }
      const [first = 0, second = 0] = pairs.map(pair => lossOf([pair]))
      expect(lossOf(pairs)).toBeCloseTo((3 * first + second) / 4, 12)
      // The decoder is told what came before, not what comes.
      const { logits } = model.forward(
        pairBatch(pairs.slice(0, 1), start).source,
        pairBatch([{ source: [], target: [8, 9, 50] }], start).inputs,
      )
      const logProbs = logits.logSoftmax(-1)
      const score = [8, 9, 2].map((id, i) => logProbs.select(0, i).select(0, id).item())
      expect(first).toBeCloseTo(-score.reduce((sum, each) => sum + each) / 3, 12)
    })
  })

  test("auxiliary losses are each side's, added", () => {
    tidy(() => {
      const model = open(name, 'f64').eval()
      const { config } = openModel(fixture(name))
      const own = architectureOf(config).routerLosses?.(config) ?? {}
      const settings = lossesSchema.parse({ balance: { kind: 'mixtral-hf' }, z: { layers: 'mean' }, ...own })
      const batch = pairsFor(model)
      const { terms, routings } = computeObjective(model, batch, settings)
      const sideOf = (decoder: boolean): { logits: Tensor; starts: readonly number[] }[] =>
        routings.flatMap(({ layer, chosen }) =>
          'logits' in chosen && layer >= model.encoder.layers.length === decoder
            ? { logits: chosen.logits, starts: (decoder ? batch.inputs : batch.source)?.starts ?? [] }
            : [],
        )
      const isSwitch = name === 'switch_transformers'
      const expected = [false, true].map(decoder => byHand(sideOf(decoder), isSwitch))
      expect(terms.balance?.item()).toBeCloseTo(
        expected.reduce((sum, { balance }) => sum + balance, 0),
        6,
      )
      expect(terms.z?.item()).toBeCloseTo(
        expected.reduce((sum, { z }) => sum + z, 0),
        5,
      )
    })
  })

  test.each([['experts'], ['attention'], ['-router'], ['experts:1.0']])('%s: the rest stays', word => {
    tidy(() => {
      const model = open(name)
      const trained = new TrainedParameters(model, [word])
      using optimizer = new AdamW([
        { name: 'all', parameters: new Map(trained.parameters), scale: 1, weightDecay: 0 },
      ])
      const options = { losses, learningRate: 1e-2, clip: 1, observe: true }
      const all = [...trained.parameters.values()]
      trainStep(model.train(), optimizer, [pairsFor(model)], { ...options, trained: all })
      const before = open(name).stateDict()
      const changed = [...model.stateDict()].flatMap(([path, tensor]) =>
        tensor.equal(before.get(path) as Tensor) ? [] : path,
      )
      expect(changed.length).toBeGreaterThan(0)
      expect(changed.filter(path => !trained.touched.has(path))).toEqual([])
      trained.dispose()
    })
  })
})

/** transformers' router_z_loss_func and load_balancing_loss_func of one side, number by number. */
function byHand(
  layers: readonly { logits: Tensor; starts: readonly number[] }[],
  isSwitch: boolean,
): { balance: number; z: number } {
  const rows = layers.map(({ logits }) => logits.tolist() as number[][])
  const starts = layers[0]?.starts ?? []
  const all = starts.slice(0, -1).map((start, b) => rows.flatMap(each => each.slice(start, starts[b + 1])))
  const groups = isSwitch ? all : [all.flat()]
  const flat = all.flat()
  const logSum = (row: number[]): number => Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0))
  const z = flat.reduce((sum, row) => sum + logSum(row) ** 2, 0) / flat.length
  const ofGroup = (group: number[][]): number => {
    const experts = group[0]?.length ?? 0
    const chosen = (row: number[]): number[] =>
      [...row.keys()].sort((a, b) => (row[b] as number) - (row[a] as number)).slice(0, isSwitch ? 1 : 2)
    const terms = Array.from({ length: experts }, (_, e) => {
      const share = group.filter(row => chosen(row).includes(e)).length / group.length
      const mean =
        group.reduce((sum, row) => sum + Math.exp((row[e] as number) - logSum(row)), 0) / group.length
      return share * mean
    })
    return experts * terms.reduce((sum, term) => sum + term, 0)
  }
  return { balance: groups.reduce((sum, group) => sum + ofGroup(group), 0) / groups.length, z }
}

describe('noise of training', () => {
  const x = randn([400, 32], { seed: 3 }).persist()

  /** What a block of experts gives for x, with other settings of the recorded model. */
  function outputs(name: string, change: object): Record<'training' | 'evaluation', Tensor> {
    manualSeed(3)
    const model = createModel({ ...openModel(fixture(name)).config, ...change }) as EncoderDecoderLM
    const block = model.encoder.layers[1]?.ffn as FeedForward
    const run = (isTraining: boolean): Tensor => (block.train(isTraining).forward(x) as MoeOutput).y
    return { training: run(true), evaluation: run(false) }
  }

  test("NLLB's token dropout leaves tokens without experts, and evaluation scales", () => {
    tidy(() => {
      const change = { moe_eval_capacity_token_fraction: 1, expert_capacity: 400 }
      const plain = outputs('nllb_moe', change)
      const { training, evaluation } = outputs('nllb_moe', { ...change, moe_token_dropout: 0.25 })
      expectClose(evaluation, plain.evaluation.mul(0.75), 1e-7)
      const left = training.abs().sum(-1).eq(0)
      const share = left.float().mean().item() - plain.training.abs().sum(-1).eq(0).float().mean().item()
      // 400 draws of probability 1/4: five standard deviations are 0.11.
      expect(Math.abs(share - 0.25)).toBeLessThan(0.11)
      expectClose(training, plain.training.mul(left.logicalNot().unsqueeze(-1).float()), 0)
    })
  })

  test("Switch's jitter moves what its router sees, in training alone", () => {
    tidy(() => {
      const plain = outputs('switch_transformers', { expert_capacity: 400 })
      const jittered = outputs('switch_transformers', { expert_capacity: 400, router_jitter_noise: 0.1 })
      expectClose(jittered.evaluation, plain.evaluation, 0)
      expect(jittered.training.sub(plain.training).abs().max().item()).toBeGreaterThan(0)
    })
  })
})
