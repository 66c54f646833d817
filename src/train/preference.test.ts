// Direct preference optimization: its equation, and what is learnt by it.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { writeServedModel } from '../../tests/support/served-model.ts'
import { expectClose } from '../../tests/support/tensors.ts'
import { byteTokenizerFiles, type Corpus, prepareConversations } from '../data/index.ts'
import { type CausalLM, openModel, tokensOfSequences } from '../models/index.ts'
import { cat, noGrad, type Tensor, tensor, tidy } from '../torch/index.ts'
import { ConversationRows } from './conversation-rows.ts'
import type { TrainEvent } from './events.ts'
import { computeObjective, lossesSchema } from './objective.ts'
import { AdamW } from './optimizer/adamw.ts'
import { preferenceLoss, referenceLogProbs } from './preference.ts'
import { checkRecipe } from './recipe/check.ts'
import { trainStep } from './step.ts'
import { train } from './train.ts'

const folder = temporaryFolder()
const { folder: base } = writeServedModel(folder)

/** Where the answer is a colour, red is preferred to blue. */
const pairs = Array.from({ length: 24 }, (_, i) => ({
  prompt: `Colour ${i}: `,
  chosen: i % 2 ? 'red' : 'red, surely',
  rejected: 'blue',
}))

async function corpusOf(examples: readonly unknown[], name: string, validation = 0): Promise<Corpus> {
  const place = join(folder, name)
  mkdirSync(place)
  for (const [file, content] of Object.entries(byteTokenizerFiles()))
    writeFileSync(join(place, file), content)
  const data = join(place, 'pairs.jsonl')
  writeFileSync(data, examples.map(example => JSON.stringify(example)).join('\n'))
  return prepareConversations({
    ...{ out: join(place, 'corpus'), paths: [data], validation },
    tokenizer: { kind: 'file', file: join(place, 'tokenizer.json') },
  })
}

describe('the loss', () => {
  test('is that of the equation', () => {
    const [logProbs, reference] = [
      [
        [-3, -5],
        [-2, -1],
      ],
      [
        [-4, -4],
        [-2, -2],
      ],
    ].map(values => tensor(values, { dtype: 'f64' })) as [
      ReturnType<typeof tensor>,
      ReturnType<typeof tensor>,
    ]
    const sigma = (x: number): number => 1 / (1 + Math.exp(-x))
    const margins = [-3 + 4 - (-5 + 4), -2 + 2 - (-1 + 2)].map(margin => 0.5 * margin)
    const plain = margins.reduce((sum, margin) => sum - Math.log(sigma(margin)) / 2, 0)
    expect(preferenceLoss(logProbs, reference, { beta: 0.5, smoothing: 0 }).loss.item()).toBeCloseTo(
      plain,
      14,
    )
    const smoothed = margins.reduce(
      (sum, margin) => sum - (0.8 * Math.log(sigma(margin)) + 0.2 * Math.log(sigma(-margin))) / 2,
      0,
    )
    expect(preferenceLoss(logProbs, reference, { beta: 0.5, smoothing: 0.2 }).loss.item()).toBeCloseTo(
      smoothed,
      14,
    )
  })

  test('is ln 2 where the model is the reference, whose log-probabilities are sums over answers', async () => {
    const corpus = await corpusOf(pairs.slice(0, 5), 'reference')
    const model = openModel(base).load({ kind: 'decoder', dtype: 'f64' }) as CausalLM
    const rows = new ConversationRows(corpus.train, 32, { long: 'refuse', together: 2 })
    expect(rows.pairs).toBe(5)
    const reference = await referenceLogProbs(model, rows, { batchSize: 2, narrow: null })
    tidy(() => {
      const batch = rows.batch(Array.from({ length: rows.count }, (_, i) => i))
      expect([...(batch.pairs ?? [])].sort()).toEqual([0, 1, 2, 3, 4])
      const losses = lossesSchema.parse({ balance: 'none', z: 0 })
      const { total, terms } = computeObjective(model, batch, losses, { beta: 0.1, smoothing: 0, reference })
      expect(total.item()).toBeCloseTo(Math.LN2, 12)
      expect(terms.drift?.item()).toBeCloseTo(0, 12)
      // One answer alone, by hand.
      const [start = 0, end = 0] = batch.inputs.starts
      const ids = Array.from(batch.inputs.ids.narrow(0, start, end - start).toTypedArray<'i64'>(), Number)
      const targets = batch.targets.narrow(0, start, end - start)
      const mean = noGrad(() => model.loss(tokensOfSequences([ids]), targets).loss.item())
      const sum = -mean * targets.ge(0).sum().item()
      expect(reference[2 * (batch.pairs?.[0] ?? 0)]).toBeCloseTo(sum, 10)
    })
    rows.dispose()
    model.dispose()
  })
})

test('micro-batches count by their pairs: as one batch would', async () => {
  const uneven = Array.from({ length: 5 }, (_, i) => ({
    prompt: 'Colour: ',
    chosen: i === 0 ? 'red and yellow and green, surely' : 'red',
    rejected: i === 0 ? 'a rather dark blue, I should say' : 'b',
  }))
  const { train } = await corpusOf(uneven, 'uneven')
  tidy(() => {
    const rows = new ConversationRows(train, 48, { long: 'refuse', together: 2 })
    const all = Array.from({ length: rows.count }, (_, i) => i)
    expect(all.map(row => rows.batch([row]).scored)).toEqual([1, 4]) // else shares would be equal
    const stepOf = (micro: readonly (readonly number[])[]): { gradient: Tensor; losses: unknown } => {
      const model = openModel(base).load({ kind: 'decoder', dtype: 'f64', mapped: false })
      using optimizer = new AdamW(model.parameters())
      const { losses } = trainStep(
        model,
        optimizer,
        micro.map(of => rows.batch(of)),
        {
          losses: lossesSchema.parse({ balance: 'none', z: 0 }),
          preference: { beta: 0.1, smoothing: 0, reference: new Float64Array(10) },
          ...{ learningRate: 0, clip: null, observe: true },
        },
      )
      return {
        gradient: cat(model.parameters().flatMap(({ grad }) => (grad ? [grad.flatten()] : []))),
        losses,
      }
    }
    const [one, two] = [stepOf([all]), stepOf(all.map(row => [row]))]
    // Sums of f64 in another order.
    expectClose(two.gradient, one.gradient, 1e-12 * one.gradient.abs().max().item())
    for (const [name, value] of Object.entries(one.losses as Record<string, number>))
      expect((two.losses as Record<string, number>)[name]).toBeCloseTo(value, 10)
    rows.dispose()
  })
})

describe('training', () => {
  let corpus: Corpus
  beforeAll(async () => {
    corpus = await corpusOf(pairs, 'training', 0.3)
  })

  const recipe = (more: object = {}): ReturnType<typeof checkRecipe> =>
    checkRecipe(
      {
        ...{ name: 'dpo', model: { from: base }, objective: 'dpo', steps: 12 },
        data: { path: corpus.folder, sequenceLength: 32, batchSize: 2 },
        optimizer: { learningRate: 1e-3, weightDecay: 0 },
        schedule: 'constant',
        logging: { every: 1 },
        ...more,
      },
      'test',
    )

  async function eventsOf(out: string, more: object = {}, resume = false): Promise<TrainEvent[]> {
    const events: TrainEvent[] = []
    for await (const event of train(recipe(more), { out: join(folder, out), resume })) events.push(event)
    return events
  }

  const losses = (events: readonly TrainEvent[]): (number | undefined)[] =>
    events.flatMap(event => (event.type === 'step' ? [event.losses?.preference] : []))

  test('tells held-out answers apart, from what it could not at first', async () => {
    const events = await eventsOf('dpo', { evaluation: { every: 6 } })
    expect(losses(events)[0]).toBeCloseTo(Math.LN2, 4)
    const scores = events.flatMap(event => (event.type === 'preferences' ? [event.score] : []))
    expect(scores).toHaveLength(2)
    expect(scores.at(-1)?.accuracy).toBe(1)
    expect(scores.at(-1)?.loss).toBeLessThan(Math.LN2 / 2)
    expect(scores.at(-1)?.margin).toBeGreaterThan(0)
  })

  test('counts the tokens that were read, full rows or not', async () => {
    const steps = (await eventsOf('tokens', { steps: 3 })).flatMap(event =>
      event.type === 'step' ? event : [],
    )
    for (const [i, { tokens, tokensPerSecond, seconds }] of steps.entries()) {
      const read = tokens - (steps[i - 1]?.tokens ?? 0)
      expect(read).toBeLessThan(2 * 2 * 32)
      expect(tokensPerSecond * seconds).toBeCloseTo(read, 6)
    }
  })

  test('goes on after a stop as if there had been none: the reference is the base, not what it has become', async () => {
    const whole = losses(await eventsOf('whole', { steps: 8, adapter: { rank: 4 } }))
    await eventsOf('parts', { steps: 4, adapter: { rank: 4 } })
    expect(losses(await eventsOf('parts', { steps: 8, adapter: { rank: 4 } }, true))).toEqual(whole.slice(4))
  })

  test('pairs are not learnt one by one, nor text by pairs', async () => {
    await expect(eventsOf('refused', { objective: 'likelihood' })).rejects.toThrow(
      'objective: likelihood would teach rejected answers too: these are pairs, for dpo',
    )
    const plain = await corpusOf([{ prompt: 'a', completion: 'b' }], 'plain')
    const data = { path: plain.folder, sequenceLength: 32, batchSize: 1 }
    await expect(eventsOf('refused', { data })).rejects.toThrow('objective: dpo is for pairs')
    await expect(eventsOf('refused', { graph: true })).rejects.toThrow(
      'graph: wants batches of one shape, which conversations have not: set it to false',
    )
  })
})

describe('what is no pair', () => {
  test.each([
    ['half a pair', [{ prompt: 'a', chosen: 'b' }], "line 1 has a 'rejected' that has none of 'messages'"],
    ['pairs and others', [pairs[0], { text: 'abc' }], 'some examples are pairs and others are not'],
    [
      'of another form',
      [{ chosen: 'b', rejected: 'c' }],
      "line 1 has a 'chosen' that has none of 'messages'",
    ],
  ])('%s', async (name, examples, message) => {
    await expect(corpusOf(examples, name.replaceAll(' ', '-'))).rejects.toThrow(message)
  })
})
