// fairseq's command line: its data and its flags train here.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { openCorpus } from '../src/data/index.ts'
import { runCli, temporaryFolder } from './support/cli.ts'
import { writeMmap } from './support/data-bin.ts'

const folder = temporaryFolder()
const path = (name: string): string => join(folder, name)

const small =
  '--encoder-embed-dim 32 --encoder-layers 2 --encoder-ffn-embed-dim 32 --encoder-attention-heads 2 --decoder-layers 2 --decoder-attention-heads 2 --max-source-positions 32 --max-target-positions 32'
const moe =
  '--moe-experts 16 --moe-freq 2 --moe-gating-type top --moe-k 2 --moe-gate-loss-wt 0.01 --moe-gate-loss-combine-method sum --moe-gate-loss-transform none --moe-second-expert-policy all --moe-normalize-gate-prob-before-dropping --moe-eval-capacity-token-fraction 0.25 --moe-batch-prioritized-routing --moe-normalize-expert-grad world_size --fp16 --update-freq 4 --distributed-world-size 8 --ddp-backend fully_sharded'

const train = (...line: string[]) => runCli(['train', ...line.flatMap(part => part.split(' '))], folder)

mkdirSync(path('data-bin'))
const bin = (name: string): string => path(`data-bin/${name}`)
const symbols = ['red 5', 'green 5', 'train 5', 'signal 5'].join('\n')
for (const language of ['en', 'de']) {
  writeFileSync(bin(`dict.${language}.txt`), `${symbols}\n`)
  const texts = Array.from({ length: 40 }, (_, i) => [4 + (i % 4), 4 + ((i >> 2) % 4), 2])
  writeMmap(bin(`train.en-de.${language}`), texts)
  writeMmap(bin(`valid.en-de.${language}`), texts.slice(0, 6))
}

test('translation with experts, on a data-bin', async () => {
  const { code, stderr } = await train(
    '--arch transformer_moe --task translation',
    moe,
    small,
    '--save-dir run data-bin',
  )
  expect(code).toBe(0)
  expect(stderr).toContain('fairseq: --distributed-world-size 8: one process trains here, on the same batch')
  expect(stderr).toContain('fairseq: without effect: --ddp-backend (one process trains here)')
  const recipe = parse(readFileSync(path('run/recipe.yaml'), 'utf8')) as object
  expect(recipe).toMatchObject({ model: { type: 'nllb-moe', num_experts: 16, vocab_size: 8 }, steps: 10 })
  const answer = await runCli([
    'generate',
    path('run'),
    '--prompt',
    'red train',
    '--max-new-tokens',
    '3',
    '--json',
  ])
  expect(answer.code).toBe(0)
}, 30_000)

test('translation and a language model on text', async () => {
  mkdirSync(path('text'))
  for (const language of ['en', 'de'])
    writeFileSync(
      path(`text/train.${language}`),
      Array.from({ length: 40 }, (_, i) => `text ${i}`).join('\n'),
    )
  for (const [language, line] of [
    ['en', 'held out'],
    ['de', 'vorbehalten'],
  ] as const)
    writeFileSync(path(`text/valid.${language}`), line)
  const translated = await train('--arch transformer --max-update 2', small, '--save-dir text-run text')
  expect([translated.code, translated.stderr]).toEqual([0, expect.stringContaining('no --lr: 5e-4')])
  const { data } = parse(readFileSync(path('text-run/recipe.yaml'), 'utf8')) as { data: { path: string } }
  expect(openCorpus(data.path).manifest.domains).toMatchObject([
    { name: 'de-en', train: { documents: 40 }, validation: { documents: 1 } },
  ])
  mkdirSync(path('lines'))
  for (const name of ['a', 'b', 'c', 'd'])
    writeFileSync(
      path(`lines/${name}.txt`),
      Array.from({ length: 30 }, (_, i) => `Points lead train ${i} ${name}.`).join('\n\n'),
    )
  const written = await train(
    '--arch=transformer_lm --moe-expert-count 4 --moe-freq 1 --moe-eval-capacity-token-fraction -1.0 --tokens-per-sample 16 --batch-size 4 --max-update 2 --json',
    '--decoder-embed-dim 32 --decoder-layers 1 --decoder-ffn-embed-dim 32 --decoder-attention-heads 2 lines --out lm',
  )
  expect([written.code, written.stderr]).toEqual([0, ''])
  expect(JSON.parse(written.stdout.split('\n')[0] ?? '')).toMatchObject({ modelType: 'switchyard_moe' })
}, 30_000)

test.each([
  ['--arch transformer --moe-expert-cuont 4 data-bin', 'did you mean --moe-expert-count?'],
  ['--arch transformer nowhere', 'nowhere: no such folder: name a data-bin folder, or one of text'],
  [
    '--arch transformer -s en -t fr data-bin',
    'dict.fr.txt: is not there: data-bin must be a folder of fairseq-preprocess',
  ],
  ['--arch transformer -s en -t fr text', 'text: has no train.en and train.fr, nor a dict.txt'],
  ['--arch transformer --resume --out run data-bin', '--resume: goes on with the recipe of a run'],
])('%s is refused in one line', async (line, problem) => {
  const { code, stderr } = await train(line)
  expect([code, stderr]).toEqual([2, expect.stringContaining(problem)])
  expect(stderr.trim().split('\n')).toHaveLength(1)
})
