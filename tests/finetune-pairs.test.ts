// Encoder-decoders from the command line: pairs and plain text, runs that go on, and what is refused.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openCorpus } from '../src/data/index.ts'
import { openModel } from '../src/models/index.ts'
import { modelText, type PairRows } from '../src/train/index.ts'
import { type CliResult, runCli, temporaryFolder } from './support/cli.ts'
import { writeSwitch } from './support/switch-model.ts'

const folder = temporaryFolder()
const path = (name: string): string => join(folder, name)
for (const name of ['model', 'languages']) mkdirSync(path(name))
const model = writeSwitch(path('model'))
const multilingual = writeSwitch(path('languages'), ['eng_Latn', 'deu_Latn'])

function write(name: string, lines: readonly unknown[]): string {
  writeFileSync(path(name), lines.map(line => `${JSON.stringify(line)}\n`).join(''))
  return path(name)
}

const words = ['ab', 'cd', 'ef', 'gh']
const pairs = write(
  'pairs.jsonl',
  Array.from({ length: 48 }, (_, i) => {
    const word = words[i % 4] as string
    return { source: `${word}${i}`, target: word.toUpperCase() }
  }),
)

const options = ['--learning-rate', '1e-2', '--set', 'data.batchSize=8', '--set', 'schedule.kind=constant']
const finetune = (data: string, out: string, ...more: string[]): string[] => [
  ...['finetune', model, '--data', data, '--out', path(out), ...options],
  ...['--set', 'data.sequenceLength=24', '--set', 'logging.every=1', ...more],
]
const steps = (n: number): string[] => ['--set', `steps=${n}`]

interface Line {
  losses?: Record<string, number>
}

const losses = (run: string): number[] =>
  readFileSync(join(path(run), 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .flatMap(line => (JSON.parse(line) as Line).losses?.crossEntropy ?? [])

describe('pairs', () => {
  test('are learnt, end to end, and the run is a model that answers', async () => {
    const { code, stderr } = await runCli(finetune(pairs, 'whole', ...steps(100)), folder)
    expect(stderr).not.toContain('error')
    expect(code).toBe(0)
    const [first = 0, last = 0] = [losses('whole')[0], losses('whole').at(-1)]
    expect(last).toBeLessThan(first / 2)
    const answer = await runCli([
      'generate',
      path('whole'),
      '--prompt',
      'cd7',
      '--temperature',
      '0',
      '--max-new-tokens',
      '4',
    ])
    expect(answer.stdout).toContain('CD')
    const corpus = join(
      folder,
      'data',
      readdirSync(path('data')).find(name => name.startsWith('pairs')) ?? '',
    )
    const evaluated = await runCli(['eval', path('whole'), '--data', corpus, '--json', '--split', 'train'])
    const { loss, moeLayers } = JSON.parse(evaluated.stdout) as { loss: number; moeLayers: number[] }
    expect(loss).toBeLessThan(first / 2)
    expect(moeLayers).toEqual([1, 3]) // layers of the decoder count on from the encoder's
  }, 30_000)

  test('go on after a stop as if there had been none', async () => {
    expect((await runCli(finetune(pairs, 'six', ...steps(6)), folder)).code).toBe(0)
    expect((await runCli(finetune(pairs, 'parts', ...steps(3)), folder)).code).toBe(0)
    const resumed = await runCli(['train', '--out', path('parts'), '--resume', ...steps(6)], folder)
    expect(resumed.stderr).toContain('going on from step 3')
    expect(losses('parts')).toEqual(losses('six')) // with the jitter of its router
  })
})

describe('adapters', () => {
  test('are trained, saved as PEFT has them, and opened with their base', async () => {
    const { code, stderr } = await runCli(finetune(pairs, 'lora', '--lora', '4', ...steps(3)), folder)
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^experts +[\d,]+ {2}frozen$/m)])
    const [last = ''] = readdirSync(path('lora/checkpoints'))
    const adapter = path(`lora/checkpoints/${last}`)
    const file = join(adapter, 'adapter_config.json')
    const config = JSON.parse(readFileSync(file, 'utf8'))
    expect(config.task_type).toBe('SEQ_2_SEQ_LM')
    const generate = ['generate', adapter, '--prompt', 'cd7', '--max-new-tokens', '2', '--json']
    const answer = await runCli(generate)
    expect(answer.code).toBe(0)
    // As it was once written; what is read is the same.
    writeFileSync(file, JSON.stringify({ ...config, task_type: 'CAUSAL_LM' }))
    const { text } = JSON.parse((await runCli(generate)).stdout)
    expect(text).toBe(JSON.parse(answer.stdout).text)
  })
})

describe('plain text', () => {
  const text = path('text.txt')
  const lines = Array.from(
    { length: 40 },
    (_, i) => `Points lead train ${i} from one track to another; a signal says when.`,
  )
  writeFileSync(text, lines.join('\n\n'))

  test('is learnt by filling in spans, and goes on after a stop as if there had been none', async () => {
    const more = ['--validation', '0', '--set', 'data.sequenceLength=32']
    expect((await runCli(finetune(text, 'spans', ...more, ...steps(6)), folder)).code).toBe(0)
    expect((await runCli(finetune(text, 'spans-parts', ...more, ...steps(3)), folder)).code).toBe(0)
    await runCli(['train', '--out', path('spans-parts'), '--resume', ...steps(6)], folder)
    expect(losses('spans-parts')).toEqual(losses('spans'))
    expect(losses('spans').at(-1)).toBeLessThan(losses('spans')[0] as number)
  })

  test('more spans than there are sentinels', async () => {
    const long = ['--validation', '0', '--set', 'data.sequenceLength=600']
    const { code, stderr } = await runCli(finetune(text, 'long', ...long, ...steps(1)), folder)
    expect(code).toBe(2)
    expect(stderr).toContain(
      'objective: cuts 30 spans out of 600 tokens, and the tokenizer has 20 sentinels (<extra_id_0> ...): shorter sequences need fewer',
    )
  })
})

test('translations begin with the tokens of their languages, and others are refused', async () => {
  const translation = { eng_Latn: 'a signal', deu_Latn: 'ein Signal' }
  const data = write(
    'both.jsonl',
    Array.from({ length: 4 }, () => ({ translation })),
  )
  const corpus = path('both')
  const prepare = (from: string, out: string): Promise<CliResult> =>
    runCli(['data', 'prepare', '--from', from, '--for', multilingual, '--validation', '0', '--out', out])
  expect(await prepare(data, corpus)).toMatchObject({ code: 0 })
  const rows = modelText(openCorpus(corpus), 'train', {
    sequenceLength: 32,
    config: openModel(multilingual).config,
  })
  const tokenizer = openModel(multilingual).tokenizer
  const [pair] = (rows as PairRows).pairs([0])
  const shown = (ids: readonly number[] = []): string => tokenizer.decode(ids)
  expect(shown(pair?.source)).toBe('eng_Latna signal</s>')
  expect(shown(pair?.target)).toBe('deu_Latnein Signal</s>')
  rows.dispose()
  const { stderr } = await prepare(write('en.jsonl', [{ translation: { en: 'a', de: 'b' } }]), path('en'))
  expect(stderr).toContain(
    "the tokenizer has no token of the language 'en': name it as there, as eng_Latn, deu_Latn",
  )
})

test.each([
  [['--set', 'recompute=layers'], 'recompute: is for models of one stack of layers'],
  [
    ['--set', 'objective=dpo'],
    'objective: pairs of answers (dpo) are for decoders, and switch_transformers is none',
  ],
  [
    ['--set', 'objective=span-corruption'],
    'objective: span-corruption is for plain text, and these are pairs',
  ],
  [
    ['--set', 'data.long=refuse', '--set', 'data.sequenceLength=3'],
    'pairs have a side longer than data.sequenceLength, 3 (the longest 4)',
  ],
])('%j is refused', async (more, problem) => {
  const { code, stderr } = await runCli(finetune(pairs, 'refused', ...steps(1), ...more), folder)
  expect([code, stderr]).toEqual([2, expect.stringContaining(problem)])
})

test('what has no source is refused', async () => {
  const data = write('texts.jsonl', [{ text: 'a' }, { text: 'b' }, { text: 'c' }])
  const { stderr } = await runCli(finetune(data, 'texts', '--validation', '0', ...steps(1)), folder)
  expect(stderr).toContain('3 of 3 examples have nothing to read before what is to be learnt')
})
