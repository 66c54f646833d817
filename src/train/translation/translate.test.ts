// What an encoder-decoder writes of pairs is what it would write by itself, begun with the language of the target.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { decoders, fixture } from '../../../tests/support/fixtures.ts'
import { writeSwitch } from '../../../tests/support/switch-model.ts'
import { type ExampleSource, encodeSide, loadTokenizer, prepareExamples } from '../../data/index.ts'
import { beamSearch, type EncoderDecoderLM, openModel, tokensOfSequences } from '../../models/index.ts'
import { inferenceMode, noGrad, tidy } from '../../torch/index.ts'
import { PairRows } from '../pair-rows.ts'
import { bleu } from './bleu.ts'
import { chrf } from './chrf.ts'
import { translate } from './translate.ts'

const folder = temporaryFolder()
mkdirSync(join(folder, 'model'))
const opened = openModel(writeSwitch(join(folder, 'model'), ['__en__', '__de__']))
const model = opened.load({ kind: 'text', mapped: false }) as EncoderDecoderLM
// Larger weights than at the start of training, so that what is written follows from what is read.
noGrad(() => {
  for (const parameter of model.parameters()) if (parameter.ndim > 1) parameter.mul_(4)
})
const file = join(folder, 'model/tokenizer.json')
const tokenizer = loadTokenizer(file)
const [language = 0] = await tokenizer.encode('__de__')
const longest = 32

/** The likeliest token each time, of all that was written so far at once. */
function greedily(prompt: readonly number[], most: number): number[] {
  const written: number[] = []
  while (written.length < most) {
    const best = inferenceMode(() =>
      tidy(() => {
        const target = tokensOfSequences([[model.config.decoder_start_token_id, language, ...written]])
        const { logits } = model.forward(tokensOfSequences([prompt]), target)
        return logits.select(0, -1).argmax(-1).item()
      }),
    )
    if (best === tokenizer.specialIds.eos) break
    written.push(best)
  }
  return written
}

const decoded = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecialTokens: true })
const prompts = ['red', 'a signal', 'points']
const sources = await Promise.all(prompts.map(prompt => encodeSide(prompt, 'en', tokenizer, false)))
const mostOf = ({ length }: readonly number[]): number => Math.min(longest, 2 * length + 10)
const written = sources.map(ids => decoded(greedily(ids, mostOf(ids))))
// Of one all is to be another text, of one the end, and one is to be what is written.
const wanted = ['else', `${written[1]?.slice(0, 5)} and so on`, written[2] ?? '']

const source: ExampleSource = {
  async *records() {
    for (const [i, prompt] of prompts.entries())
      yield {
        kind: 'plain',
        ...{ prompt, completion: wanted[i] ?? '', file: 'here', place: `line ${i + 1}` },
        ...{ languages: { source: 'en', target: 'de' }, domain: 'en-de' },
      }
  },
  origins: () => [{ name: 'here' }],
}
const corpus = await prepareExamples({
  out: join(folder, 'corpus'),
  ...{ source, tokenizer: { kind: 'file', file }, apart: true, validation: 0 },
})
const rows = new PairRows(corpus.train, longest, 'cut')
const references = rows.pairs([0, 1, 2]).map(({ target }) => decoded(target))
const options = { domains: corpus.domains, batchSize: 3, batches: null }

test('greedily', async () => {
  expect(new Set(written).size).toBe(3)
  const scores = {
    texts: 3,
    bleu: bleu(
      written,
      references.map(text => [text]),
    ).score,
    chrf: chrf(written, references),
  }
  expect(scores.chrf).toBeGreaterThan(10)
  expect(await translate(model, rows, tokenizer, options)).toEqual({
    ...scores,
    domains: [{ name: 'en-de', ...scores }],
  })
})

test('by a search', async () => {
  const settings = { beams: 3, lengthPenalty: 0.5 }
  const found: string[] = []
  for (const ids of sources) {
    const own = { beginnings: [[language]], maxNewTokens: mostOf(ids) }
    const [best] = await beamSearch(model, ids, { ...settings, ...own })
    found.push(decoded(best?.ids ?? []))
  }
  expect(found).not.toEqual(written)
  const { chrf: score } = await translate(model, rows, tokenizer, { ...options, ...settings })
  expect(score).toBe(chrf(found, references))
})

test('a decoder has no targets to begin', async () => {
  const decoder = openModel(fixture(decoders[0])).load({ kind: 'text' })
  await expect(beamSearch(decoder, [5], { beginnings: [[7]] })).rejects.toThrow(
    'beginnings: are of targets, and a decoder goes on with its prompt: leave them out',
  )
  decoder.dispose()
})
