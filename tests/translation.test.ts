// Encoder-decoders from nothing, on the command line: parallel text, recipes, translations and their scores.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { main, runCli, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const path = (name: string): string => join(folder, name)
const recipe = (name: string): string => join(main, `../../../recipes/${name}.yaml`)
const set = (...settings: string[]): string[] => settings.flatMap(setting => ['--set', setting])
const sparse = ['model.num_experts=4', 'logging.every=1', 'evaluation.every=0']

describe('translation', () => {
  // Words for words: what a small model learns at once.
  const words = [
    ['red', 'rot'],
    ['green', 'gruen'],
    ['signal', 'Signal'],
    ['train', 'Zug'],
  ] as const
  const lines = Array.from({ length: 64 }, (_, i) => [...[i, i >> 2, i >> 4, i].map(n => words[n % 4])])
  mkdirSync(path('texts'))
  for (const [side, language] of ['en', 'de'].entries())
    writeFileSync(
      path(`texts/lines.${language}`),
      lines.map(line => line.map(word => word?.[side]).join(' ')).join('\n'),
    )

  test('from text to BLEU', async () => {
    const prepared = await runCli([
      ...['data', 'prepare', '--pairs', 'en-de', '--from', path('texts'), '--tokenizer', 'bpe:300'],
      ...['--validation', '0.1', '--out', path('pairs')],
    ])
    expect(prepared).toMatchObject({ code: 0, stdout: expect.stringMatching(/^en-de +64 /m) })
    const small = [
      'model.d_model=32',
      'model.encoder_layers=2',
      'model.decoder_layers=2',
      'model.encoder_ffn_dim=32',
    ]
    const trained = await runCli([
      ...['train', recipe('gshard-tiny'), '--out', path('run'), '--quiet'],
      ...set(
        ...sparse,
        ...small,
        `data.path=${path('pairs')}`,
        'model.init_std=0.17',
        'steps=80',
        'schedule.warmup=10',
      ),
      ...set('optimizer.learningRate=1e-2', 'data.sequenceLength=24'),
    ])
    expect([trained.code, trained.stderr]).toEqual([0, ''])
    const evaluated = await runCli([
      'eval',
      path('run'),
      '--data',
      path('pairs'),
      '--json',
      '--split',
      'train',
    ])
    const { translation } = JSON.parse(evaluated.stdout) as {
      translation: { texts: number; bleu: number; chrf: number; domains: { name: string }[] }
    }
    expect(translation.domains).toMatchObject([{ name: 'en-de', chrf: translation.chrf }])
    // The same words by their order alone, which is what a model that does not look at sources learns, have a chrF of 40.
    expect([translation.bleu, translation.chrf].every(score => score > 80)).toBe(true)
    const searched = await runCli([
      'eval',
      path('run'),
      '--data',
      path('pairs'),
      '--batches',
      '1',
      '--beams',
      '2',
    ])
    expect(searched.stdout).toMatch(/^written +texts +BLEU +chrF2$/m)
    const languages = ['--source-lang', 'en', '--target-lang', 'de']
    const answer = await runCli([
      'generate',
      path('run'),
      '--prompt',
      'red train signal red',
      '--beams',
      '2',
      '--json',
      ...languages,
    ])
    expect((JSON.parse(answer.stdout) as { text: string }).text).toMatch(/^rot Zug Signal rot$/)
    const drawn = await runCli([
      'generate',
      path('run'),
      '--prompt',
      'red train signal red',
      '--temperature',
      '0',
      ...languages,
    ])
    expect(drawn.stdout).toContain('rot Zug Signal rot')
    const other = await runCli(['generate', path('run'), '--prompt', 'red', '--target-lang', 'fr'])
    expect(other.stderr).toContain(
      "--target-lang: the tokenizer has no token of the language 'fr': name it as there, as __en__, __de__",
    )
  }, 60_000)
})

describe('span corruption', () => {
  mkdirSync(path('plain'))
  for (const name of ['a', 'b', 'c', 'd'])
    writeFileSync(
      path(`plain/${name}.txt`),
      Array.from({ length: 15 }, (_, i) => `Points ${name} lead train ${i} from one track to another.`).join(
        '\n\n',
      ),
    )

  test.each(['switch-tiny', 'switch-tiny-dense'])(
    '%s',
    async name => {
      const prepared = await runCli([
        ...['data', 'prepare', '--from', path('plain'), '--tokenizer', 'bytes', '--sentinels', '8'],
        ...['--out', path(`spans-${name}`), '--validation', '0.2'],
      ])
      expect(prepared.code).toBe(0)
      const settings = ['model.d_model=32', 'model.d_ff=32', 'model.num_layers=2', 'schedule.warmup=2']
      const experts =
        name === 'switch-tiny'
          ? ['model.num_sparse_encoder_layers=1', 'model.num_sparse_decoder_layers=1']
          : []
      const trained = await runCli([
        ...['train', recipe(name), '--out', path(name), '--quiet'],
        ...set(...settings, ...experts, `data.path=${path(`spans-${name}`)}`, 'steps=30', 'logging.every=1'),
        ...set('data.sequenceLength=32', 'data.batchSize=8', 'evaluation.every=0'),
      ])
      expect(trained.code).toBe(0)
      const losses = readFileSync(path(`${name}/metrics.jsonl`), 'utf8')
        .trim()
        .split('\n')
        .flatMap(
          line => (JSON.parse(line) as { losses?: { crossEntropy: number } }).losses?.crossEntropy ?? [],
        )
      expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 0.3)
      const { model } = parse(readFileSync(path(`${name}/recipe.yaml`), 'utf8')) as { model: object }
      expect(model).toMatchObject({ d_kv: 8, num_decoder_layers: 2, vocab_size: 267 })
    },
    30_000,
  )
})
