// data-bin folders, written here byte by byte as fairseq does.
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { writeIndexed, writeMmap } from '../../../tests/support/data-bin.ts'
import { loadTokenizer } from '../tokenizer-file.ts'
import { isDataBin, pairOfDataBin, prepareDataBin } from './data-bin.ts'
import { readDictionary } from './dictionary.ts'
import { readIndexedDataset } from './indexed-dataset.ts'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)

describe('token ids', () => {
  const texts = [[4, 5, 6, 2], [2], [70_000, 4, 2]]

  test.each([4, 5, 9])('of an mmap data set in numbers of type %i', code => {
    writeMmap(at(`mmap${code}`), texts, code)
    expect([...readIndexedDataset(at(`mmap${code}`))]).toEqual(texts)
  })

  test('of two bytes each', () => {
    const small = [[65_000, 2], []]
    writeMmap(at('small'), small, 8)
    expect([...readIndexedDataset(at('small'))]).toEqual(small)
  })

  test('of the older kind, which counts from 1', () => {
    writeIndexed(at('indexed'), texts)
    expect([...readIndexedDataset(at('indexed'))]).toEqual(texts)
  })

  test('that are not all there are refused', () => {
    writeMmap(at('cut'), texts, 4)
    truncateSync(at('cut.bin'), 20)
    expect(() => [...readIndexedDataset(at('cut'))]).toThrow('cut.bin: text 3 of')
    truncateSync(at('cut.idx'), 40)
    expect(() => [...readIndexedDataset(at('cut'))]).toThrow(
      'cut.idx: ends before its last text: it is damaged',
    )
    writeFileSync(at('cut.idx'), 'text')
    expect(() => [...readIndexedDataset(at('cut'))]).toThrow("cut.idx: is no index of fairseq's")
  })
})

describe('dictionaries', () => {
  test('begin with four symbols', () => {
    writeFileSync(at('dict.txt'), 'the 42\n\u2581a 7\na b 3\n')
    expect(readDictionary(at('dict.txt'))).toEqual(['<s>', '<pad>', '</s>', '<unk>', 'the', '\u2581a', 'a b'])
  })

  test('give what is overwritten a new id, as fairseq does', () => {
    writeFileSync(at('over.txt'), 'a 3\n<unk> -1 #fairseq:overwrite\nb 2\na 1 #fairseq:overwrite\n')
    const symbols = readDictionary(at('over.txt'))
    expect(symbols).toEqual(['<s>', '<pad>', '</s>', '<unk>', 'a #7', '<unk> #5', 'b', 'a'])
  })

  test.each([
    ['the\n', "line 1 is no symbol with its count, as 'the 42'"],
    ['a 1\nb 2\na 3\n', "line 3 has 'a' again: each symbol comes once"],
  ])('%j is refused', (content, problem) => {
    writeFileSync(at('wrong.txt'), content)
    expect(() => readDictionary(at('wrong.txt'))).toThrow(problem)
  })
})

describe('corpora', () => {
  test('of pairs: one vocabulary, the target after the source, valid held out', async () => {
    mkdirSync(at('pairs'))
    const place = (name: string): string => join(at('pairs'), name)
    writeFileSync(place('dict.en.txt'), 'points 9\nlead 3\n')
    writeFileSync(place('dict.de.txt'), 'Weichen 9\nlead 3\n')
    writeMmap(place('train.en-de.en'), [
      [4, 5, 2],
      [4, 2],
    ])
    writeMmap(place('train.en-de.de'), [
      [4, 5, 2],
      [4, 3, 2],
    ])
    writeMmap(place('valid.en-de.en'), [[5, 2]])
    writeMmap(place('valid.en-de.de'), [[5, 2]])
    expect([isDataBin(at('pairs')), isDataBin(at('none'))]).toEqual([true, false])
    const pair = pairOfDataBin(at('pairs')) ?? { source: '', target: '' }
    expect(pair).toEqual({ source: 'en', target: 'de' })
    const corpus = await prepareDataBin({ out: at('corpus'), folder: at('pairs'), pair })
    const tokenizer = loadTokenizer(corpus.tokenizerFile)
    expect(tokenizer.vocabSize).toBe(7)
    expect(tokenizer.specialIds).toEqual({ bos: 0, pad: 1, eos: 2 })
    expect(await tokenizer.encode('points Weichen other')).toEqual([4, 6, 3])
    expect(tokenizer.decode([4, 6], { skipSpecialTokens: true })).toBe('points Weichen')
    expect(corpus.manifest.answers).toEqual({ examples: 3, tokens: 8, together: 1 })
    expect(corpus.manifest.domains).toMatchObject([
      { name: 'en-de', train: { documents: 2, tokens: 11 }, validation: { documents: 1, tokens: 4 } },
    ])
  })

  test('of text', async () => {
    mkdirSync(at('text'))
    writeFileSync(join(at('text'), 'dict.txt'), '\u2581po 9\nints 3\n')
    writeMmap(join(at('text'), 'train'), [[4, 5, 2]])
    const corpus = await prepareDataBin({ out: at('text-corpus'), folder: at('text') })
    expect(corpus.manifest.answers).toBeUndefined()
    expect(loadTokenizer(corpus.tokenizerFile).decode([4, 5])).toBe('points')
  })

  test('of a dictionary that is another are refused', async () => {
    mkdirSync(at('other'))
    writeFileSync(join(at('other'), 'dict.txt'), 'a 1\n')
    writeMmap(join(at('other'), 'train'), [
      [4, 2],
      [4, 9, 2],
    ])
    await expect(prepareDataBin({ out: at('other-corpus'), folder: at('other') })).rejects.toThrow(
      /train\.bin has the id 9 in text 2, and .*dict\.txt 5 symbols: they do not belong together/,
    )
  })

  test('of sides that are no pairs are refused', async () => {
    mkdirSync(at('uneven'))
    for (const side of ['en', 'de']) writeFileSync(join(at('uneven'), `dict.${side}.txt`), 'a 1\n')
    writeMmap(join(at('uneven'), 'train.en-de.en'), [[4, 2]])
    writeMmap(join(at('uneven'), 'train.en-de.de'), [
      [4, 2],
      [4, 2],
    ])
    const pair = { source: 'en', target: 'de' }
    await expect(prepareDataBin({ out: at('uneven-corpus'), folder: at('uneven'), pair })).rejects.toThrow(
      /train\.en-de\.de has more texts than .*train\.en-de\.en, which has 1: they must be pairs/,
    )
  })
})
