import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError, DataError } from '../errors.ts'
import { readSafetensorsHeader } from '../formats/index.ts'
import { type Corpus, type CorpusSplit, openCorpus, verifyCorpus } from './corpus.ts'
import type { Document, TextSource } from './document.ts'
import { type PrepareOptions, type PrepareProgress, prepareCorpus } from './prepare.ts'
import { entropy } from './token-counts.ts'
import { byteLevelTokenizerJson } from './tokenizer-bytes.ts'
import { loadTokenizer } from './tokenizer-file.ts'

let root: string
let folder: string

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'switchyard-corpus-'))
})

afterAll(() => rmSync(root, { recursive: true }))

beforeEach(() => {
  folder = mkdtempSync(join(root, 'corpus-'))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

function sourceOf(texts: Record<string, string[]>): TextSource {
  return {
    async *documents(): AsyncGenerator<Document> {
      for (const [domain, list] of Object.entries(texts)) {
        for (const text of list) yield { text, domain, source: 'test' }
      }
    },
    origins: () => [{ name: 'test', licence: 'CC0-1.0' }],
    skipped: ['a', 'b', 'c'].map(file => ({ file, reason: 'is empty' })),
  }
}

const numbered = (text: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${text} ${i}.`)

const twoDomains = sourceOf({
  en: numbered('An English sentence, number', 60),
  code: numbered('let x = "y"; // </s>', 40),
})

/** Texts that do not spell special tokens. */
const plain = sourceOf({
  en: numbered('An English sentence, number', 60),
  code: numbered('let y = x + 1; //', 40),
})

const prepare = (options: Partial<PrepareOptions> = {}): Promise<Corpus> =>
  prepareCorpus({
    out: folder,
    source: twoDomains,
    tokenizer: { kind: 'bytes' },
    validation: 0.1,
    force: true,
    ...options,
  })

function tokensOf(split: CorpusSplit): number[] {
  return split.shards.flatMap(({ file, tokenRange: { dtype, offset, length } }) => {
    const bytes = Uint8Array.from(readFileSync(file).subarray(offset, offset + length)).buffer
    return Array.from(dtype === 'I16' ? new Int16Array(bytes) : new Int32Array(bytes))
  })
}

function textsOf(corpus: Corpus, split: CorpusSplit): string[] {
  const tokenizer = loadTokenizer(corpus.tokenizerFile)
  const texts = tokenizer.decode(tokensOf(split)).split('</s>')
  return texts.slice(0, -1)
}

describe('prepareCorpus', () => {
  test('every document is in one split, whole, and ends with the end-of-text token', async () => {
    const source = sourceOf({
      en: numbered('An English sentence, number', 60),
      fr: numbered('Une phrase fran\u00e7aise', 40),
    })
    const corpus = await prepare({ source })
    const { train, validation } = corpus
    const texts = [...textsOf(corpus, train), ...textsOf(corpus, validation)]
    expect(texts.toSorted()).toEqual(
      [
        ...numbered('An English sentence, number', 60),
        ...numbered('Une phrase fran\u00e7aise', 40),
      ].toSorted(),
    )
    expect(tokensOf(train).at(-1)).toBe(2)
    expect(tokensOf(validation).at(-1)).toBe(2)
  })

  test('an end-of-text token spelled in the text ends nothing', async () => {
    const { train, validation } = await prepare()
    const ends = [...tokensOf(train), ...tokensOf(validation)].filter(id => id === 2)
    expect(ends).toHaveLength(100)
  })

  test('the manifest counts what the shards hold', async () => {
    const corpus = await prepare({ source: plain })
    const { manifest, train, validation } = corpus
    for (const split of [train, validation]) {
      const documents = split.shards.flatMap(shard => [...shard.documentStarts])
      const texts = (split === train ? textsOf(corpus, train) : textsOf(corpus, validation)).join('')
      expect(split.counts.reduce((sum, { documents }) => sum + documents, 0)).toBe(documents.length)
      expect(split.counts.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(Buffer.byteLength(texts))
      expect(split.counts.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(split.tokens)
      expect(tokensOf(split)).toHaveLength(split.tokens)
    }
    expect(manifest.domains.map(({ name }) => name)).toEqual(['en', 'code'])
    expect(manifest.domains[0]?.validation.documents).toBe(6)
    expect(manifest).toMatchObject({ vocabSize: 259, origins: [{ name: 'test', licence: 'CC0-1.0' }] })
    expect(manifest.cleaning.skippedFiles).toBe(3)
  })

  test('unigram entropy is that of the tokens', async () => {
    const { manifest, train } = await prepare({ source: sourceOf({ one: numbered('aab abba aabb ab', 20) }) })
    const counts = new Array<number>(259).fill(0)
    for (const id of tokensOf(train)) counts[id]!++
    expect(manifest.domains[0]?.train.unigramEntropy).toBeCloseTo(entropy(counts), 12)
    expect(entropy([1, 1, 1, 1])).toBeCloseTo(Math.log(4), 12)
    expect(entropy([5, 0])).toBe(0)
  })

  test('the domain of every token is known', async () => {
    const corpus = await prepare({ source: plain, shardTokens: 200 })
    expect(corpus.train.shards.length).toBeGreaterThan(5)
    const domains = corpus.train.shards.flatMap(shard =>
      Array.from({ length: shard.tokens }, (_, offset) => corpus.domains[shard.domainAt(offset)]),
    )
    const expected = textsOf(corpus, corpus.train).flatMap(text =>
      new Array(Buffer.byteLength(text) + 1).fill(text.startsWith('An English') ? 'en' : 'code'),
    )
    expect(domains).toEqual(expected)
    const [first] = corpus.train.shards
    for (const outside of [-1, first?.tokens ?? 0]) expect(() => first?.domainAt(outside)).toThrow(RangeError)
  })

  test('shards respect their size and documents do not span them', async () => {
    const { train } = await prepare({ shardTokens: 100 })
    for (const { tokens, documentStarts } of train.shards) {
      expect(tokens <= 100 || documentStarts.length === 1).toBe(true)
      expect(documentStarts[0]).toBe(0)
    }
  })

  test('shards are safetensors files of the documented tensors', async () => {
    const { train } = await prepare()
    const { tensors } = readSafetensorsHeader(train.shards[0]!.file)
    const types = [...tensors.values()].map(({ name, dtype }) => [name, dtype])
    expect(Object.fromEntries(types)).toEqual({
      tokens: 'I16',
      document_starts: 'I64',
      document_domains: 'I32',
      document_bytes: 'I64',
    })
  })

  test('large vocabularies take 32 bits a token', async () => {
    const json = JSON.parse(byteLevelTokenizerJson()) as { model: { vocab: Record<string, number> } }
    json.model.vocab.unused = 40_000
    const file = join(root, 'large.json')
    writeFileSync(file, JSON.stringify(json))
    const { train, validation, vocabSize } = await prepare({ tokenizer: { kind: 'file', file } })
    expect([vocabSize, train.shards[0]?.tokenRange.dtype]).toEqual([40_001, 'I32'])
    expect([...tokensOf(train), ...tokensOf(validation)].filter(id => id === 2)).toHaveLength(100)
  })

  test('the tokenizer is learned from the training text', async () => {
    const { vocabSize, manifest } = await prepare({ tokenizer: { kind: 'bpe', vocabSize: 310 } })
    expect(vocabSize).toBe(310)
    for (const { train } of manifest.domains) expect(train.tokens).toBeLessThan(train.bytes * 0.7)
  })

  test('the same seed gives the same files, another seed other documents', async () => {
    const tokenizer = { kind: 'bpe' as const, vocabSize: 280 }
    const hashes = async (seed: number): Promise<string[]> => {
      const { manifest } = await prepare({ tokenizer, seed, size: 800 })
      return [readFileSync(join(folder, 'tokenizer.json'), 'utf8'), JSON.stringify(manifest)]
    }
    const first = await hashes(1)
    expect(await hashes(1)).toEqual(first)
    expect(await hashes(2)).not.toEqual(first)
  })

  test('size limits the text of each domain', async () => {
    const { manifest } = await prepare({ size: 500 })
    for (const { train, validation } of manifest.domains) {
      expect(train.bytes + validation.bytes).toBeLessThanOrEqual(500)
      expect(train.bytes + validation.bytes).toBeGreaterThan(450)
      expect(validation.documents).toBeGreaterThanOrEqual(1)
    }
  })

  test('text is cleaned, repetitions and scraps are dropped and counted', async () => {
    const notice = 'The same notice stands in every file, and it is long enough to be one of them. '.repeat(2)
    const { manifest } = await prepare({
      source: sourceOf({
        en: ['short', ...numbered(`${notice}\r\n\r\nIt\u0301s own text`, 5), 'caf\ufffd is not UTF-8'],
      }),
    })
    expect(manifest.cleaning).toMatchObject({
      shortDocuments: 1,
      duplicateParagraphs: 4,
      replacedCharacters: 1,
    })
  })

  test('without validation there is one split', async () => {
    const { validation } = await prepare({ validation: 0 })
    expect([validation.tokens, validation.shards.length]).toEqual([0, 0])
  })
})

describe('what stays on disk', () => {
  const failing: TextSource = {
    ...twoDomains,
    async *documents() {
      yield* twoDomains.documents(() => {})
      throw new DataError('the source broke')
    },
  }

  test('a finished corpus is its files and nothing else', async () => {
    await prepare()
    expect(readdirSync(folder).sort()).toEqual([
      'corpus.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'train-00000.safetensors',
      'validation-00000.safetensors',
    ])
  })

  test('a failed run leaves nothing that opens as a corpus, and no litter', async () => {
    await expect(prepare({ source: failing })).rejects.toThrow('the source broke')
    expect(existsSync(folder)).toBe(false)
  })

  test('a failed run leaves the corpus that was there', async () => {
    await prepare()
    await expect(prepare({ source: failing })).rejects.toThrow('the source broke')
    await verifyCorpus(openCorpus(folder))
  })

  test('a corpus is not replaced unless forced, then wholly', async () => {
    await prepare({ shardTokens: 300 })
    await expect(prepare({ force: false })).rejects.toThrow(
      /holds a corpus already: say that it is to be replaced/,
    )
    writeFileSync(join(folder, 'notes.txt'), "a stranger's")
    await prepare()
    expect(readdirSync(folder).filter(name => name.startsWith('train'))).toEqual(['train-00000.safetensors'])
    expect(existsSync(join(folder, 'notes.txt'))).toBe(true)
  })

  test('a folder with something else in it is left alone, with or without force', async () => {
    writeFileSync(join(folder, 'notes.txt'), "a stranger's")
    for (const force of [false, true])
      await expect(prepare({ force })).rejects.toThrow(
        /is not empty and holds no corpus: give another folder/,
      )
    expect(readdirSync(folder)).toEqual(['notes.txt'])
  })

  test('of two at the same time one wins', async () => {
    const both = await Promise.allSettled([prepare({ force: false }), prepare({ force: false })])
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect(String((both[1] as PromiseRejectedResult).reason)).toContain(
      `${folder} is being prepared by process ${process.pid}: wait for it or stop it`,
    )
    await verifyCorpus(openCorpus(folder))
  })

  test('aborting removes what was written', async () => {
    const controller = new AbortController()
    const onProgress = ({ stage }: PrepareProgress): void => {
      if (stage === 'encode') controller.abort()
    }
    const { signal } = controller
    await expect(prepare({ onProgress, signal })).rejects.toThrow(/aborted/)
    expect(existsSync(folder)).toBe(false)
  })

  test('what a killed run left does not disturb the next', async () => {
    cpSync(import.meta.dirname, join(folder, '.preparing'), { recursive: true })
    await prepare({ force: false })
    expect(existsSync(join(folder, '.preparing'))).toBe(false)
  })
})

describe('what is refused', () => {
  test.each([
    [{ validation: 0.6 }, 'validation: must be a share from 0 to 0.5, got 0.6'],
    [{ validation: Number.NaN }, 'validation: must be a share from 0 to 0.5, got NaN'],
    [{ size: 0 }, 'size: must be at least 1 byte, got 0'],
    [{ seed: 1.5 }, 'seed: must be an integer, got 1.5'],
    [
      { tokenizer: { kind: 'bpe' as const, vocabSize: 50_000 } },
      'tokenizer: a BPE vocabulary has 260 to 30000',
    ],
  ])('%j', async (options, message) => {
    await expect(prepare(options)).rejects.toThrow(ConfigError)
    await expect(prepare(options)).rejects.toThrow(message)
  })

  test('no text', async () => {
    await expect(prepare({ source: sourceOf({}) })).rejects.toThrow(/no document of 16 bytes or more/)
    await expect(prepare({ source: sourceOf({ en: ['', ' \n '] }) })).rejects.toThrow(DataError)
  })

  test('a file where the folder should be', async () => {
    const file = join(root, 'file')
    writeFileSync(file, '')
    await expect(prepare({ out: file })).rejects.toThrow(/file is a file; give a folder/)
  })

  test('a tokenizer without end-of-text token', async () => {
    const file = join(root, 'endless.json')
    writeFileSync(file, byteLevelTokenizerJson().replaceAll('</s>', '<end>'))
    await expect(prepare({ tokenizer: { kind: 'file', file } })).rejects.toThrow(/no end-of-text token/)
  })

  test('domains that are no domains', async () => {
    const texts = Object.fromEntries(
      numbered('domain', 1001).map(name => [name, ['Some text that is long enough']]),
    )
    await expect(prepare({ source: sourceOf(texts) })).rejects.toThrow(/more than 1000 domains/)
  })
})

describe('openCorpus', () => {
  const shard = (): string => join(folder, 'train-00000.safetensors')

  test('a missing folder, or one without a corpus, says how to make one', () => {
    const remedy = `make one with 'switchyard data prepare --out ${folder}`
    expect(() => openCorpus(folder)).toThrow(ConfigError)
    expect(() => openCorpus(folder)).toThrow(`${folder} is not a corpus (it has no corpus.json): ${remedy}`)
    expect(() => openCorpus(`${folder}/none`)).toThrow(/none is not a corpus/)
  })

  test.each([
    ['a missing shard', () => rmSync(shard()), /train-00000\.safetensors: cannot be opened.*data prepare/],
    [
      'a truncated shard',
      () => truncateSync(shard(), 500),
      /train-00000\.safetensors: .*truncated.*data prepare/,
    ],
    ['an empty shard', () => truncateSync(shard(), 0), /train-00000\.safetensors: .*data prepare/],
    [
      'another corpus\u2019s shard',
      () => cpSync(join(folder, 'validation-00000.safetensors'), shard()),
      /'tokens' is not the I16/,
    ],
    [
      'a missing tokenizer',
      () => rmSync(join(folder, 'tokenizer.json')),
      /tokenizer\.json is missing; .*data prepare/,
    ],
    [
      'a manifest cut off',
      () => truncateSync(join(folder, 'corpus.json'), 100),
      /corpus\.json is damaged: .*data prepare/,
    ],
    [
      'another JSON file',
      () => writeFileSync(join(folder, 'corpus.json'), '{}'),
      /corpus\.json: format (is missing|must be).*data prepare/,
    ],
  ])('%s is one clear line', async (_, damage, message) => {
    await prepare()
    damage()
    expect(() => openCorpus(folder)).toThrow(DataError)
    expect(() => openCorpus(folder)).toThrow(message)
    expect(() => openCorpus(folder)).not.toThrow(/\n/)
  })

  test('a shard path that leaves the folder is refused', async () => {
    await prepare()
    const manifest = join(folder, 'corpus.json')
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('train-00000', '../train-00000'))
    expect(() => openCorpus(folder)).toThrow(/shards\.train\.0\.file/)
  })

  test('a changed byte does not escape verification', async () => {
    const corpus = await prepare()
    await verifyCorpus(corpus)
    const bytes = readFileSync(shard())
    bytes[bytes.length - 5]! ^= 1
    writeFileSync(shard(), bytes)
    await expect(verifyCorpus(openCorpus(folder))).rejects.toThrow(/train-00000\.safetensors has changed/)
  })
})

test('any mix of documents comes back whole', async () => {
  const texts = fc.array(fc.string({ unit: 'grapheme', minLength: 30, maxLength: 80 }), {
    minLength: 2,
    maxLength: 12,
  })
  await fc.assert(
    fc.asyncProperty(texts, fc.integer({ min: 1, max: 300 }), async (list, shardTokens) => {
      const marked = list.map((text, i) => `<${i}> ${text}`.normalize('NFC').replace(/\s+/g, ' ').trim())
      const corpus = await prepare({ source: sourceOf({ a: marked }), shardTokens })
      const back = [...textsOf(corpus, corpus.train), ...textsOf(corpus, corpus.validation)]
      expect(back.toSorted()).toEqual(marked.toSorted())
    }),
    { numRuns: 25 },
  )
})
