import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError, FormatError } from '../errors.ts'
import type { Tokenizer } from './tokenizer.ts'
import { byteCharacters, byteLevelTokenizerJson, tokenBytes } from './tokenizer-bytes.ts'
import { byteTokenizer, loadTokenizer } from './tokenizer-file.ts'
import { StreamDecoder } from './tokenizer-stream.ts'
import { trainBpe } from './tokenizer-train.ts'

const folder = mkdtempSync(join(tmpdir(), 'switchyard-tokenizer-'))
const inFolder = (name: string): string => join(folder, name)

const corpus = [
  'low lower lowest newer newest wider',
  'for (let i = 0; i < n; i++) sum += x[i]',
  '\u4e2d\u6587 \u4e2d\u6587',
].map(line => `${line}\n`.repeat(20))

let trained: Tokenizer
let trainedJson: string

beforeAll(async () => {
  trainedJson = await trainBpe(corpus, { vocabSize: 300 })
  writeFileSync(inFolder('tokenizer.json'), trainedJson)
  trained = loadTokenizer(inFolder('tokenizer.json'))
})

afterAll(() => rmSync(folder, { recursive: true }))

/** What every tokenizer can give back: text whose lone surrogates became U+FFFD, as any UTF-8 text has them. */
const asUtf8 = (text: string): string => Buffer.from(text).toString()

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 30 })
    .map(units => String.fromCharCode(...units)),
  fc
    .array(
      fc.constantFrom('low', ' newest', '\n\n', '</s>', '<s>', 'i++', '\u4e2d\u6587', '\u{1f600}', '\ud800'),
    )
    .map(parts => parts.join('')),
)

test('the tokenizer of bytes asks no file of the current folder', () => {
  const before = process.cwd()
  process.chdir(mkdtempSync(inFolder('elsewhere-')))
  try {
    writeFileSync('tokenizer_config.json', '{ "eos_token": "<pad>" }')
    expect(byteTokenizer().specialIds).toEqual({ pad: 0, bos: 1, eos: 2 })
  } finally {
    process.chdir(before)
  }
})

describe.each([
  ['bytes', () => byteTokenizer()],
  ['trained', () => trained],
])('%s tokenizer', (_, make) => {
  test('decoding what was encoded gives the text back', async () => {
    const tokenizer = make()
    await fc.assert(
      fc.asyncProperty(
        anyText,
        fc.constantFrom('token' as const, 'text' as const),
        async (text, specials) => {
          expect(tokenizer.decode(await tokenizer.encode(text, { specials }))).toBe(asUtf8(text))
        },
      ),
      { numRuns: 200 },
    )
  })

  test('streaming gives the same text, never half a character', async () => {
    const tokenizer = make()
    await fc.assert(
      fc.asyncProperty(anyText, async text => {
        const stream = new StreamDecoder(tokenizer, { skipSpecialTokens: false })
        const pieces = (await tokenizer.encode(text)).map(id => stream.push(id))
        pieces.push(stream.flush())
        expect(pieces.join('')).toBe(asUtf8(text))
        for (const piece of pieces) expect(asUtf8(piece)).toBe(piece)
      }),
      { numRuns: 200 },
    )
  })

  test('any ids stream to what they decode to, valid UTF-8 or not', () => {
    const tokenizer = make()
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: tokenizer.vocabSize - 1 })),
        fc.boolean(),
        (ids, skip) => {
          const stream = new StreamDecoder(tokenizer, { skipSpecialTokens: skip })
          const text = ids.map(id => stream.push(id)).join('') + stream.flush()
          expect(text).toBe(tokenizer.decode(ids, { skipSpecialTokens: skip }))
        },
      ),
      { numRuns: 300 },
    )
  })

  test('special tokens come first and stand for no text', async () => {
    const tokenizer = make()
    expect(tokenizer.specialIds).toEqual({ pad: 0, bos: 1, eos: 2 })
    expect([0, 1, 2, 3].map(id => tokenizer.isSpecial(id))).toEqual([true, true, true, false])
    expect(await tokenizer.encode('a</s>')).toEqual([...(await tokenizer.encode('a')), 2])
    expect(await tokenizer.encode('a</s>', { specials: 'text' })).not.toContain(2)
    expect(tokenizer.decode([1, ...(await tokenizer.encode('a')), 2], { skipSpecialTokens: true })).toBe('a')
  })

  test('a batch gives what its texts give alone', async () => {
    const tokenizer = make()
    const texts = ['low', '', 'newest \u{1f600}']
    expect(await tokenizer.encodeBatch(texts)).toEqual(
      await Promise.all(texts.map(text => tokenizer.encode(text))),
    )
  })

  test('ids outside of the vocabulary are no tokens', () => {
    const tokenizer = make()
    expect(tokenizer.idToToken(tokenizer.vocabSize - 1)).toBeTypeOf('string')
    expect(tokenizer.idToToken(tokenizer.vocabSize)).toBeUndefined()
    expect(tokenizer.idToBytes(tokenizer.vocabSize)).toBeUndefined()
  })
})

describe('trainBpe', () => {
  test('the same text gives the same file, with the vocabulary that was asked for', async () => {
    expect(trained.vocabSize).toBe(300)
    expect(await trainBpe(corpus, { vocabSize: 300 })).toBe(trainedJson)
  })

  test('learns what is frequent, in the order of frequency', async () => {
    const small = JSON.parse(await trainBpe(corpus, { vocabSize: 262 })) as { model: { merges: string[][] } }
    expect(small.model.merges).toEqual((JSON.parse(trainedJson) as typeof small).model.merges.slice(0, 3))
    expect((await trained.encode('low')).length).toBe(1)
    expect((await trained.encode('zqx')).length).toBe(3)
  })

  test('little text gives a smaller vocabulary', async () => {
    writeFileSync(inFolder('small.json'), await trainBpe(['ab ab'], { vocabSize: 1000 }))
    expect(loadTokenizer(inFolder('small.json')).vocabSize).toBe(261) // 'ab' and ' ab'
  })

  test.each([259, 30_001, 300.5, Number.NaN])('refuses a vocabulary of %s', async vocabSize => {
    await expect(trainBpe(corpus, { vocabSize })).rejects.toThrow(ConfigError)
    await expect(trainBpe(corpus, { vocabSize })).rejects.toThrow(`260 to 30000 tokens, got ${vocabSize}`)
  })
})

describe('loadTokenizer', () => {
  const json = (): Record<string, unknown> => JSON.parse(trainedJson) as Record<string, unknown>

  test.each([
    ['empty', () => ''],
    ['cut off', () => trainedJson.slice(0, 2000)],
    ['another JSON', () => '{"a": 1}'],
    ['a list', () => '[]'],
    ['an unknown model', () => JSON.stringify({ ...json(), model: { type: 'Magic' } })],
    ['merges of unknown tokens', () => trainedJson.replace('"merges": [', '"merges": [["zz", "yy"],')],
    ['added tokens that are none', () => JSON.stringify({ ...json(), added_tokens: 5 })],
    ['an absurd id', () => trainedJson.replace(/"low": \d+/, '"low": 4000000000')],
  ])('a file that is %s is an error that names it', (_, content) => {
    const file = inFolder('broken.json')
    writeFileSync(file, content())
    expect(() => loadTokenizer(file)).toThrow(FormatError)
    expect(() => loadTokenizer(file)).toThrow(file)
  })

  test('a missing file is an error that names it', () => {
    expect(() => loadTokenizer(inFolder('none.json'))).toThrow(/none\.json: cannot be read \(ENOENT\)/)
  })

  test('special tokens by the files beside it, else by custom', () => {
    const file = inFolder('tokenizer.json')
    const config = inFolder('tokenizer_config.json')
    writeFileSync(
      config,
      JSON.stringify({ eos_token: { content: '<pad>' }, pad_token: '</s>', bos_token: null }),
    )
    expect(loadTokenizer(file).specialIds).toEqual({ pad: 2, bos: 1, eos: 0 })
    writeFileSync(config, 'not json')
    expect(loadTokenizer(file).specialIds).toEqual({ pad: 0, bos: 1, eos: 2 })
    rmSync(config)
  })

  test('byte tokens beyond a byte are text, not places in a table', () => {
    const outside = ['<0x-1>', '<0x100>', '<0xFFFFFFFFFF>', '<0xZZ>', '<0x>']
    const file = inFolder('outside.json')
    const content = {
      ...json(),
      added_tokens: [],
      pre_tokenizer: null,
      post_processor: null,
      decoder: { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }] },
      model: {
        type: 'BPE',
        unk_token: null,
        byte_fallback: true,
        vocab: Object.fromEntries([...outside, '<0x41>'].map((token, id) => [token, id])),
        merges: [],
      },
    }
    writeFileSync(file, JSON.stringify(content))
    const tokenizer = loadTokenizer(file)
    for (const [id, token] of outside.entries()) expect(tokenizer.decode([id])).toBe(token)
    expect(tokenizer.decode([outside.length])).toBe('A')
  })

  test('tokens whose spaces depend on their neighbours stream as they decode', async () => {
    // As SentencePiece models are converted: U+2581 marks a space, unknown characters fall back to bytes.
    const bytes = Array.from(
      { length: 256 },
      (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`,
    )
    const tokens = ['<s>', '</s>', ...bytes, '\u2581', 'h', 'i', '\u2581h', '\u2581hi']
    const content = {
      ...json(),
      added_tokens: [],
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Prepend', prepend: '\u2581' },
          { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
        ],
      },
      pre_tokenizer: null,
      post_processor: null,
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 1, stop: 0 },
        ],
      },
      model: {
        type: 'BPE',
        unk_token: null,
        byte_fallback: true,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: [
          ['\u2581', 'h'],
          ['\u2581h', 'i'],
        ],
      },
    }
    writeFileSync(inFolder('pieces.json'), JSON.stringify(content))
    const pieces = loadTokenizer(inFolder('pieces.json'))
    expect(pieces.idToBytes(5)).toBeUndefined()
    const stream = new StreamDecoder(pieces)
    const ids = await pieces.encode('hi hi \u{1f600} hi')
    const streamed = ids.map(id => stream.push(id))
    expect(streamed.join('') + stream.flush()).toBe('hi hi \u{1f600} hi')
    expect(streamed).toContain('\u{1f600}')
  })
})

test('byte characters are those of GPT-2', () => {
  expect(new Set(byteCharacters).size).toBe(256)
  expect([0, 0x20, 0x41, 0x7f, 0xa0, 0xad, 0xff].map(byte => byteCharacters[byte]).join('')).toBe(
    '\u0100\u0120A\u0121\u0142\u0143\u00ff',
  )
  expect(tokenBytes('\u0120A')).toEqual(Uint8Array.of(0x20, 0x41))
  expect([...tokenBytes('a b')]).toEqual([...Buffer.from('a b')]) // a space is in no byte-level token
})

test('the byte tokenizer is a tokenizer.json like any other', () => {
  writeFileSync(inFolder('bytes.json'), byteLevelTokenizerJson())
  expect(loadTokenizer(inFolder('bytes.json')).vocabSize).toBe(259)
  expect(JSON.parse(readFileSync(inFolder('bytes.json'), 'utf8'))).toMatchObject({ version: '1.0' })
})
