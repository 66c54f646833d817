// What recipes can ask of training, each through a whole run: interrupted and resumed, it gives the same bits.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { listCheckpoints, openModel } from '../src/models/index.ts'
import { evaluate, type ModelText, type Recipe, Trainer, train } from '../src/train/index.ts'
import { withOverrides } from '../src/train/recipe/load.ts'
import { runCli, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const corpus = join(folder, 'corpus')

beforeAll(async () => {
  const prepare = 'data prepare --sample --size 40kB --tokenizer bpe:512 --quiet --out'.split(' ')
  expect((await runCli([...prepare, corpus])).stderr).toBe('')
})

function recipeOf(overrides: readonly string[]): Recipe {
  const model = { type: 'mixtral', hidden_size: 16, intermediate_size: 16, num_hidden_layers: 2 }
  const raw = {
    name: 'settings',
    model: { ...model, num_attention_heads: 2, num_local_experts: 4 },
    data: { path: corpus, sequenceLength: 32, batchSize: 4 },
    optimizer: { learningRate: 1e-2 },
    schedule: { kind: 'constant', warmup: 2 },
    steps: 8,
    evaluation: { every: 4, batches: 2 },
    checkpoint: { every: 0 },
  }
  return withOverrides(raw, overrides, 'test')
}

interface Ended {
  /** Of the last checkpoint. */
  folder: string
  losses: number[]
  /** The last validation loss. */
  loss: number
}

async function run(out: string, overrides: readonly string[], resume = false): Promise<Ended> {
  const ended: Ended = { folder: '', losses: [], loss: Number.NaN }
  for await (const event of train(recipeOf(overrides), { out: join(folder, out), resume })) {
    if (event.type === 'step' && event.losses) ended.losses.push(event.losses.total as number)
    if (event.type === 'evaluation') ended.loss = event.evaluation.loss
  }
  ended.folder = listCheckpoints(join(folder, out, 'checkpoints'))[0] as string
  return ended
}

const files = ['model.safetensors', 'optimizer.safetensors']
const bytesOf = ({ folder }: Ended, name: string): Buffer => readFileSync(join(folder, name))

describe('interrupted after three steps and resumed, the run ends in the same bits', () => {
  test.each<[string, string[], string[]]>([
    ['muon', ['optimizer.kind=muon'], []],
    ['adafactor', ['optimizer.kind=adafactor'], []],
    ['smoothed labels', ['losses.labelSmoothing=0.1'], []],
    ['weighted domains', ['data.weights={bible: 1, code: {from: 0, to: 2, over: 4}, es: 0, maths: 0.5}'], []],
    ['ema', ['ema.decay=0.9'], ['ema/model.safetensors']],
    ['sgd', ['optimizer.kind=sgd', 'optimizer.nesterov=true', 'optimizer.learningRate=0.3'], []],
  ])('%s', async (name, overrides, also) => {
    const all = [...overrides, 'logging.every=1']
    const whole = await run(`${name}-whole`, all)
    await run(`${name}-parts`, [...all, 'steps=3'])
    const parts = await run(`${name}-parts`, all, true)
    for (const file of [...files, ...also])
      expect(bytesOf(parts, file).equals(bytesOf(whole, file)), file).toBe(true)
    expect(parts.losses).toEqual(whole.losses.slice(3))
    expect(whole.losses.at(-1)).toBeLessThan(whole.losses[0] as number)
  })
})

test('an average of the weights is what is evaluated, and what the run stands for', async () => {
  const plain = await run('plain', [])
  const averaged = await run('averaged', ['ema.decay=0.9'])
  expect(bytesOf(averaged, 'model.safetensors')).toEqual(bytesOf(plain, 'model.safetensors'))
  expect(averaged.loss).not.toBe(plain.loss)
  expect(openModel(join(folder, 'averaged')).path).toBe(join(averaged.folder, 'ema'))
  for (const path of ['averaged', averaged.folder]) {
    const model = openModel(path === 'averaged' ? join(folder, path) : path).load({ kind: 'stack' })
    const trainer = new Trainer(recipeOf([]))
    const options = { domains: trainer.corpus.domains, batchSize: 4, batches: 2 }
    const { loss } = await evaluate(model, trainer.validation as ModelText, options)
    expect(loss).toBeCloseTo(path === 'averaged' ? averaged.loss : plain.loss, 6)
    model.dispose()
    trainer.dispose()
  }
})

test('an average of weights in half precision is refused', async () => {
  await expect(run('refused', ['ema.decay=0.9', 'precision=half'])).rejects.toThrow(
    /^ema: averages weights in f32/,
  )
})

test.each([
  ['muon', 'precision=half', /^precision\.kind: half is for adamw: muon keeps no f32 copies/],
  ['adafactor', 'precision=half', /^precision\.kind: half is for adamw: adafactor/],
  ['sgd', 'graph=true', /^graph: sgd waits for the device, .*: set it to false, or use adamw$/],
])('%s with %s is refused before anything is written', async (kind, setting, message) => {
  await expect(run('refused', [`optimizer.kind=${kind}`, setting])).rejects.toThrow(message)
})
