// `generate --beams` and `--contrastive`: texts that are searched for, and what is refused beside them.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { beamSearch, contrastiveText, openModel, type TextModel } from '../src/models/index.ts'
import { runCli, temporaryFolder } from './support/cli.ts'
import { writeServedModel } from './support/served-model.ts'
import { writeSwitch } from './support/switch-model.ts'

const folder = temporaryFolder()
mkdirSync(join(folder, 'model'))
const model = writeSwitch(join(folder, 'model'))
const { folder: decoder } = writeServedModel(temporaryFolder())
const search = ['generate', model, '--prompt', 'ab', '--beams', '3', '--max-new-tokens', '4']

interface Found {
  text: string
  score: number
  nBest: { text: string; tokens: number; score: number; logProb: number; reason: string }[]
}

test('all beams as JSON, the best first, as the library finds them', async () => {
  const { code, stdout } = await runCli([...search, '--length-penalty', '0.5', '--json'])
  expect(code).toBe(0)
  const { nBest, ...best } = JSON.parse(stdout) as Found
  const opened = openModel(model)
  const prompt = await opened.tokenizer.encode('ab', { addSpecialTokens: true })
  const options = { beams: 3, nBest: 3, maxNewTokens: 4, lengthPenalty: 0.5 }
  const expected = await beamSearch(opened.load({ kind: 'text' }) as TextModel, prompt, options)
  expect(nBest.map(({ reason, tokens }) => [reason, tokens])).toEqual(
    expected.map(({ reason, ids }) => [reason, ids.length]),
  )
  // Stored weights add up in another order: of logits of order 1 that is f32 rounding.
  for (const [i, { score }] of nBest.entries()) expect(score).toBeCloseTo(expected[i]?.score ?? Number.NaN, 4)
  expect(best).toMatchObject({ text: nBest[0]?.text, score: nBest[0]?.score })
})

test('the best text alone without --json', async () => {
  const { stdout, stderr } = await runCli([...search, '--quiet'])
  const { text } = JSON.parse((await runCli([...search, '--json'])).stdout) as Found
  expect([stdout, stderr]).toEqual([`ab${text}\n`, ''])
})

test('a text by contrast, as the library finds it', async () => {
  const args = [
    'generate',
    decoder,
    '--prompt',
    'ab',
    '--weights',
    'decoded',
    '--max-new-tokens',
    '6',
    '--json',
  ]
  const { stdout } = await runCli([...args, '--contrastive', '0.6', '--candidates', '3'])
  const opened = openModel(decoder)
  const options = { penalty: 0.6, candidates: 3, maxNewTokens: 6 }
  const { text, ids, reason } = await contrastiveText(
    opened.load({ kind: 'text' }) as TextModel,
    opened.tokenizer,
    'ab',
    options,
  )
  expect(JSON.parse(stdout)).toMatchObject({ text, tokens: ids.length, reason, options })
  const other = await runCli([...search.slice(0, 4), '--contrastive', '0.6'])
  expect(other).toMatchObject({ code: 2, stderr: expect.stringContaining('contrastive: is for decoders') })
})

test.each([
  [[...search, '--contrastive', '0.6'], "'--contrastive <a>' cannot be used with option '--beams <n>'"],
  [
    ['generate', model, '--prompt', 'ab', '--candidates', '3'],
    '--candidates: is for a search: give --contrastive too',
  ],
  [[...search, '--temperature', '1'], "'--beams <n>' cannot be used with option '--temperature <t>'"],
  [[...search, '--samples', '2'], "'--beams <n>' cannot be used with option '--samples <n>'"],
  [
    ['generate', model, '--prompt', 'ab', '--length-penalty', '1'],
    '--length-penalty: is for a search: give --beams too',
  ],
  [
    ['generate', model, '--prompt', 'ab', '--target-lang', 'de'],
    "--target-lang: the tokenizer has no languages, and so no 'de'",
  ],
  [[...search, '--source-lang', 'en'], "--source-lang: the tokenizer has no languages, and so no 'en'"],
  [['generate', decoder, '--prompt', 'ab', '--contrastive', '2'], '--contrastive: must be in 0..1, got 2'],
])('%j is refused', async (args, problem) => {
  expect(await runCli(args)).toMatchObject({ code: 2, stderr: expect.stringContaining(problem) })
})

test('what keys and values are kept in reaches the text', async () => {
  const { code, stdout } = await runCli(['generate', model, '--prompt', 'ab', '--kv', 'f16', '--json'])
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ options: { kv: 'f16' } })
})
