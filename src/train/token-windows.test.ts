import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { type Corpus, fileSource, loadTokenizer, openCorpus, prepareCorpus } from '../data/index.ts'
import { TokenWindows } from './token-windows.ts'

const folder = temporaryFolder()
const [first, second] = ['aab'.repeat(20), 'bc'.repeat(30)]
let corpus: Corpus

/** Two documents of 60 bytes and an end each, in a shard of its own each. */
beforeAll(async () => {
  const [text, out] = [join(folder, 'text'), join(folder, 'corpus')]
  mkdirSync(text)
  for (const [name, content] of Object.entries({ first, second }))
    writeFileSync(join(text, `${name}.txt`), content)
  await prepareCorpus({
    out,
    source: fileSource({ paths: [text] }),
    tokenizer: { kind: 'bytes' },
    validation: 0,
    shardTokens: 61,
  })
  corpus = openCorpus(out)
})

test('frequencies count every token of every shard, and nothing else', async () => {
  const windows = new TokenWindows(corpus.train, 8)
  expect(corpus.train.shards.map(shard => shard.tokens)).toEqual([61, 61])
  const size = corpus.vocabSize + 2
  const frequencies = windows.frequencies(size)
  expect(frequencies.length).toBe(size)
  const tokenizer = loadTokenizer(corpus.tokenizerFile)
  const ids = await tokenizer.encode('abcd')
  expect(ids.map(id => frequencies[id])).toEqual([40, 20 + 30, 30, 0])
  expect(frequencies[tokenizer.specialIds.eos ?? -1]).toBe(2) // an end of each document
  expect(frequencies.reduce((sum, count) => sum + count, 0)).toBe(2 * 61)
  windows.dispose()
})

test('windows tile each shard, and their targets are the tokens that follow', () => {
  const windows = new TokenWindows(corpus.train, 20)
  const tokenizer = loadTokenizer(corpus.tokenizerFile)
  expect(windows.count).toBe(2 * 3)
  const texts = Array.from({ length: windows.count }, (_, window) => {
    const { inputs, targets } = windows.batch([window])
    const [shown, wanted] = [inputs, targets].map(ids => (ids.tolist() as number[][])[0] ?? []) as [
      number[],
      number[],
    ]
    expect(wanted.slice(0, -1)).toEqual(shown.slice(1))
    return tokenizer.decode(shown)
  })
  const ofShards = [texts.slice(0, 3).join(''), texts.slice(3).join('')]
  expect(ofShards.sort()).toEqual([first, second])
  windows.dispose()
})
