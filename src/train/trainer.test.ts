import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { fileSource, prepareCorpus } from '../data/index.ts'
import { WordRouter } from '../moe/index.ts'
import { checkRecipe } from './recipe/check.ts'
import { Trainer } from './trainer.ts'

const folder = temporaryFolder()
const path = join(folder, 'corpus')

/** Of one document, in which a occurs 40 times, A 20, b 50 and c 30 times. */
beforeAll(async () => {
  const text = join(folder, 'text')
  mkdirSync(text)
  writeFileSync(join(text, 'all.txt'), 'aaaaAAbbbbbccc'.repeat(10))
  const source = fileSource({ paths: [text] })
  await prepareCorpus({ out: path, source, tokenizer: { kind: 'bytes' }, validation: 0 })
})

function trainer(more: object = {}): Trainer {
  const recipe = {
    name: 'x',
    steps: 10,
    model: {
      type: 'switchyard_moe',
      hidden_size: 8,
      intermediate_size: 8,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_local_experts: 2,
    },
    data: { path, sequenceLength: 8, batchSize: 2 },
    gradientAccumulation: 3,
    optimizer: { kind: 'adamw', learningRate: 0.01 },
    ...more,
  }
  return new Trainer(checkRecipe(recipe, 'test'))
}

/** Runs a step; a bad one has NaN in its gradients. */
function step(of: Trainer, kind: 'good' | 'bad'): void {
  const [, weight] = [...of.model.namedParameters()].find(([name]) => name.endsWith('norm.weight'))!
  const before = weight.detach().clone()
  if (kind === 'bad') weight.detach().fill_(Number.NaN)
  expect(of.step(false).updated).toBe(kind === 'good')
  if (kind === 'bad') weight.detach().copy_(before)
}

describe('what a run counts', () => {
  test('bad steps in a row end with a good one; those in all do not', () => {
    const run = trainer()
    const counted = (['good', 'bad', 'bad', 'good', 'bad', 'good', 'good'] as const).map(kind => {
      step(run, kind)
      return [run.state.skipped, run.state.skippedInRow]
    })
    expect(counted).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
      [2, 0],
      [3, 1],
      [3, 0],
      [3, 0],
    ])
    expect(run.optimizer.step).toBe(4) // only good steps age the optimizer
    run.dispose()
  })

  test('bad steps count as steps, and their tokens as read', () => {
    const run = trainer()
    for (const [i, kind] of (['good', 'bad', 'good'] as const).entries()) {
      step(run, kind)
      expect(run.state.step).toBe(i + 1)
      expect(run.state.tokens).toBe((i + 1) * 3 * 2 * 8) // micro-batches of two windows of eight tokens
    }
    run.dispose()
  })

  test('bad steps in a row go on counting where a restored run stood', () => {
    const [one, other] = [trainer(), trainer()]
    step(one, 'bad')
    other.state = one.state
    step(other, 'bad')
    expect(other.state).toMatchObject({ step: 2, skipped: 2, skippedInRow: 2 })
    one.dispose()
    other.dispose()
  })
})

test('the learning rate follows the schedule, a step at a time, good or bad', () => {
  const run = trainer({ schedule: { kind: 'cosine', warmup: 2, minimum: 0 } })
  const rates = (['good', 'bad', 'good', 'good', 'good', 'good', 'good'] as const).map(kind => {
    const rate = run.learningRate
    step(run, kind)
    return Number((rate / 0.01).toFixed(12))
  })
  // Of ten steps eight fall: after two of them cos(pi / 4), after four cos(pi / 2).
  expect(rates.slice(0, 3)).toEqual([0.5, 1, 1])
  expect(rates[4]).toBeCloseTo((1 + Math.SQRT1_2) / 2, 12)
  expect(rates[6]).toBeCloseTo(0.5, 12)
  run.dispose()
})

test("words get experts by how often they occur in the corpus's training text", async () => {
  const run = trainer({ router: { kind: 'words' } })
  const [router] = [...run.model.namedModules()].flatMap(([, module]) =>
    module instanceof WordRouter ? module : [],
  )
  const { table } = router as WordRouter // [1, V]
  const ids = await run.tokenizer.encode('aAbc')
  // a and A are one word of 60; b of 50 goes to the other expert, where c of 30 finds the lighter load.
  expect(ids.map(id => table.select(0, 0).select(0, id).item())).toEqual([0, 0, 1, 1])
  run.dispose()
})
