// MixLoRA from the command line: trained around a dense model, gone on with, opened by what reads models, and refused where it cannot be.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { byteTokenizer, byteTokenizerFiles } from '../src/data/index.ts'
import {
  createModel,
  openModel,
  parseModelConfig,
  saveModel,
  tokensOfSequences,
} from '../src/models/index.ts'
import { manualSeed, noGrad, tidy } from '../src/torch/index.ts'
import { type CliResult, runCli, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const path = (name: string): string => join(folder, name)
const [base, half, corpus] = [path('base'), path('half'), path('corpus')]

/** A dense model, its weights as they are and in half precision, with the tokenizer of bytes. */
function writeDense(): void {
  const { vocabSize, specialIds } = byteTokenizer()
  const sizes = { vocab_size: vocabSize, hidden_size: 64, intermediate_size: 64, num_hidden_layers: 2 }
  const heads = { num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 256 }
  const ends = { eos_token_id: specialIds.eos, initializer_range: 0.1 }
  const config = parseModelConfig({ model_type: 'mistral', ...sizes, ...heads, ...ends }, 'test')
  manualSeed(5)
  using model = createModel(config)
  saveModel(base, model, config)
  saveModel(half, model, config, { dtype: 'bf16' })
  for (const folder of [base, half])
    for (const [name, content] of Object.entries(byteTokenizerFiles()))
      writeFileSync(join(folder, name), content)
}

beforeAll(async () => {
  writeDense()
  const notes = path('notes.txt')
  writeFileSync(notes, 'Points lead trains from one track to another; a signal says when.\n\n'.repeat(60))
  const prepared = ['data', 'prepare', '--from', notes, '--for', base, '--validation', '0', '--out', corpus]
  expect((await runCli(prepared)).stderr).toBe('')
})

/** What the run writes, all of the text read anew for each token. */
async function greedy(prompt: string, count: number): Promise<string> {
  const opened = openModel(path('run'))
  const ids = await opened.tokenizer.encode(prompt)
  const all = tidy(() => {
    const model = opened.load({ kind: 'decoder' })
    const next = (read: readonly number[]): number =>
      noGrad(() =>
        model
          .forward(tokensOfSequences([read]), { logitsAt: 'last' })
          .logits.argmax(-1)
          .item(),
      )
    return Array.from({ length: count }).reduce<number[]>(read => [...read, next(read)], [...ids])
  })
  return opened.tokenizer.decode(all).trimEnd()
}

const finetune = (out: string, steps: number, ...args: string[]): Promise<CliResult> => {
  const sets = ['data.sequenceLength=48', 'data.batchSize=4', 'logging.every=1', 'schedule.kind=constant']
  const settings = [...sets, 'adapter.experts=4', `steps=${steps}`].flatMap(set => ['--set', set])
  const rate = ['--learning-rate', '1e-2']
  return runCli([...['finetune', base, '--data', corpus, '--out', path(out)], ...rate, ...settings, ...args])
}
const mixlora = ['--lora', '4', '--adapter', 'mixlora']

interface Line {
  losses?: Record<string, number>
  routing?: { layer: number; load: number[] }[]
}

const metrics = (run: string): Line[] =>
  readFileSync(join(path(run), 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
const losses = (run: string): number[] => metrics(run).flatMap(line => line.losses?.crossEntropy ?? [])

describe('a dense model', () => {
  test('learns by experts of its own, of which is told as of any, and its weights stay', async () => {
    const { code, stderr } = await finetune('run', 12, ...mixlora)
    expect(code).toBe(0)
    expect(stderr).toMatch(/^adapter +[\d,]+ {2}all$/m)
    expect(stderr).toMatch(/^dense +[\d,]+ {2}frozen$/m)
    expect(losses('run').at(-1)).toBeLessThan((losses('run')[0] ?? 0) - 0.5)
    const [first] = metrics('run')
    expect(first?.routing?.map(({ layer, load }) => [layer, load.length])).toEqual([
      [0, 4],
      [1, 4],
    ])
    expect(first?.losses?.balance).toBeGreaterThan(0)
  })

  test('goes on after a stop as if there had been none', async () => {
    expect((await finetune('parts', 5, ...mixlora)).code).toBe(0)
    const resumed = await runCli(['train', '--out', path('parts'), '--resume', '--set', 'steps=12'])
    expect(resumed.stderr).toContain('going on from step 5')
    expect(losses('parts')).toEqual(losses('run'))
  })

  test('is read and written with as any model', async () => {
    const evaluated = await runCli(['eval', path('run'), '--data', corpus, '--split', 'train', '--json'])
    const { loss, moeLayers } = JSON.parse(evaluated.stdout)
    expect(loss).toBeLessThan(losses('run')[0] as number)
    expect(moeLayers).toEqual([0, 1])
    const options = ['--prompt', 'Points', '--max-new-tokens', '6', '--temperature', '0', '--quiet']
    const { stdout } = await runCli(['generate', path('run'), ...options])
    expect(stdout.trimEnd()).toBe(await greedy('Points', 6))
  })

  test('whose weights are in half precision stays so', async () => {
    const sets = ['data.sequenceLength=48', 'data.batchSize=4', 'steps=2'].flatMap(set => ['--set', set])
    const args = [
      'finetune',
      half,
      '--data',
      corpus,
      '--out',
      path('stored'),
      '--stored',
      ...mixlora,
      ...sets,
    ]
    expect((await runCli(args)).code).toBe(0)
    const { code } = await runCli(['generate', path('stored'), '--prompt', 'P', '--max-new-tokens', '2'])
    expect(code).toBe(0)
  })
})

describe('what is refused', () => {
  const apart = 'and stays one: MixLoRA chooses experts for each token, of which there is no sum for all'
  test.each<[string[], string]>([
    [['convert', path('run'), '--out', path('x')], apart],
    [['finetune', path('run'), '--data', corpus, '--out', path('x')], apart],
  ])('%j', async (args, problem) => {
    const { code, stderr } = await runCli(args)
    expect([code, stderr]).toEqual([2, expect.stringContaining(problem)])
    expect(existsSync(path('x'))).toBe(false)
  })
})
