import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError, DataError, FormatError } from '../../errors.ts'
import type { Document } from '../document.ts'
import { maxDocumentLength } from '../split-text.ts'
import { type FileSourceOptions, fileSource } from './files.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-files-'))
})

afterEach(() => rmSync(folder, { recursive: true }))

/** Writes a file below the test's folder and returns its path. */
function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
  return path
}

async function read(options: FileSourceOptions): Promise<Document[]> {
  const documents: Document[] = []
  for await (const document of fileSource(options).documents(() => {})) documents.push(document)
  return documents
}

const failure = (options: FileSourceOptions): Promise<Error> =>
  read(options).then(
    () => new Error('none'),
    error => error,
  )

describe('plain text', () => {
  test('a file is a document of the domain of its name, a folder names all its files', async () => {
    const file = write('shakespeare.txt', 'To be')
    write('books/fr/a.txt', 'un')
    write('books/fr/deep/b.md', 'deux')
    expect(await read({ paths: [file, join(folder, 'books/fr')] })).toEqual([
      { text: 'To be', domain: 'shakespeare', source: 'shakespeare.txt' },
      { text: 'un', domain: 'fr', source: 'fr/a.txt' },
      { text: 'deux', domain: 'fr', source: 'fr/deep/b.md' },
    ])
  })

  test('--domain names everything', async () => {
    const documents = await read({ paths: [write('a.txt', 'a'), write('b.txt', 'b')], domain: 'prose' })
    expect(documents.map(({ domain }) => domain)).toEqual(['prose', 'prose'])
  })

  test('hidden files and links inside folders are left out', async () => {
    const file = write('text/a.txt', 'a')
    write('text/.git/config', 'secret')
    symlinkSync(folder, join(folder, 'text/loop'))
    symlinkSync(file, join(folder, 'text/again.txt'))
    expect(await read({ paths: [join(folder, 'text')] })).toHaveLength(1)
  })

  test('a long file comes in parts that joined give it again, gzip or not', async () => {
    const text = 'A line of text, like every other one.\n'.repeat(10_000)
    for (const file of [write('a.txt', text), write('b.txt.gz', gzipSync(text))]) {
      const parts = (await read({ paths: [file] })).map(document => document.text)
      expect(parts.join('')).toBe(text)
      expect(parts.length).toBeGreaterThan(20)
      expect(Math.max(...parts.map(part => part.length))).toBeLessThanOrEqual(maxDocumentLength)
    }
  })

  test('one huge line is cut too', async () => {
    const text = '\u{1f600}'.repeat(200_000)
    const parts = (await read({ paths: [write('a.txt', text)] })).map(document => document.text)
    expect(parts.join('')).toBe(text)
    for (const part of parts) expect(Buffer.from(part).toString()).toBe(part)
  })

  test('bytes that are not UTF-8 become U+FFFD', async () => {
    const [document] = await read({ paths: [write('latin1.txt', Buffer.from('caf\u00e9 noir', 'latin1'))] })
    expect(document?.text).toBe('caf\ufffd noir')
  })

  test('a binary file is an error when named, skipped and told in a folder', async () => {
    const image = write('mixed/image.png', Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0, 1]))
    write('mixed/empty.txt', '')
    write('mixed/a.txt', 'text')
    const error = await failure({ paths: [image] })
    expect(error).toBeInstanceOf(DataError)
    expect(error.message).toBe(`${image} is binary: it holds zero bytes; give files of text`)
    const source = fileSource({ paths: [join(folder, 'mixed')] })
    const documents: Document[] = []
    for await (const document of source.documents(() => {})) documents.push(document)
    expect(documents).toHaveLength(1)
    expect(source.skipped).toEqual([
      { file: join(folder, 'mixed/empty.txt'), reason: 'is empty' },
      { file: join(folder, 'mixed/image.png'), reason: 'is binary: it holds zero bytes' },
    ])
  })

  test('missing and empty paths are errors that name them', async () => {
    mkdirSync(join(folder, 'nothing'))
    expect((await failure({ paths: [join(folder, 'none')] })).message).toMatch(
      /none: no such file or folder$/,
    )
    expect(await failure({ paths: [join(folder, 'none')] })).toBeInstanceOf(ConfigError)
    expect((await failure({ paths: [join(folder, 'nothing')] })).message).toMatch(/nothing holds no files/)
    expect((await failure({ paths: [write('empty.txt', '')] })).message).toMatch(/empty\.txt is empty/)
  })

  test('a prepared corpus is no text', async () => {
    write('corpus/corpus.json', '{}')
    const error = await failure({ paths: [join(folder, 'corpus')] })
    expect(error.message).toBe(
      `from: ${join(folder, 'corpus')} is a prepared corpus already: name the text that it was made of`,
    )
  })

  test('a gzip bomb is refused long before it fills the disk', async () => {
    const bomb = write('bomb.txt.gz', gzipSync(Buffer.alloc(100 * 2 ** 20, 'a')))
    const error = await failure({ paths: [bomb] })
    expect(error.message).toMatch(/bomb\.txt\.gz: expands more than 250-fold/)
  })

  test('Zstandard files are unpacked as well', async () => {
    const packed = Buffer.from('KLUv/QRo4QAAeyJ0ZXh0Ijoib2YgYSBwYWNrZWQgZmlsZSJ9CpjNC54=', 'base64') // by zstd 1.5
    expect(await read({ paths: [write('a.jsonl.zst', packed)] })).toMatchObject([
      { text: 'of a packed file' },
    ])
    const error = await failure({ paths: [write('b.txt.zst', 'plain text')] })
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toMatch(/b\.txt\.zst: is damaged or not Zstandard/)
    const cut = await failure({ paths: [write('cut.jsonl.zst', packed.subarray(0, 20))] })
    expect(cut).toBeInstanceOf(FormatError)
  })

  test('a Zstandard bomb is refused long before it fills memory', async () => {
    // A frame of 128 KiB blocks that repeat one byte, four bytes each: magic, window of 128 KiB, blocks, an empty last one.
    const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38])
    const block = Buffer.from([0x02, 0x00, 0x10, 0x61])
    const bomb = write(
      'bomb.txt.zst',
      Buffer.concat([header, ...Array.from({ length: 4000 }, () => block), Buffer.from([1, 0, 0])]),
    )
    const error = await failure({ paths: [bomb] })
    expect(error).toBeInstanceOf(DataError)
    expect(error.message).toMatch(/bomb\.txt\.zst: expands more than 250-fold/)
  })

  test('a file that only calls itself gzip is an error', async () => {
    const error = await failure({ paths: [write('a.txt.gz', 'plain text')] })
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toMatch(/a\.txt\.gz: is damaged or not gzip/)
    const cut = write('cut.txt.gz', gzipSync('text '.repeat(1000)).subarray(0, 40))
    expect((await failure({ paths: [cut] })).message).toMatch(/cut\.txt\.gz: is damaged or not gzip/)
  })
})

describe('JSONL', () => {
  const line = (value: unknown): string => `${JSON.stringify(value)}\n`

  test('each line is a document; its own domain counts most', async () => {
    const content = `\ufeff${line({ text: 'one', domain: 'code' })}\n${line({ text: 'two\n', extra: [1] })}{"text":"three","domain":null}`
    for (const file of [write('mine.jsonl', content), write('mine.ndjson.gz', gzipSync(content))]) {
      expect((await read({ paths: [file] })).map(({ text, domain }) => [text, domain])).toEqual([
        ['one', 'code'],
        ['two\n', 'mine'],
        ['three', 'mine'],
      ])
    }
  })

  test.each([
    ['{"text": "a"', 'line 2 is not JSON'],
    ['"text"', "line 2 has no 'text'"],
    ['{"content": "a"}', "line 2 has no 'text'"],
    ['{"text": 5}', "line 2 has no 'text'"],
    ['null', "line 2 has no 'text'"],
    ['{"text": "a", "domain": 5}', "line 2 has a 'domain' that is no string"],
  ])('%s is an error that names file and line', async (bad, message) => {
    const error = await failure({ paths: [write('a.jsonl', `${line({ text: 'fine' })}${bad}\n`)] })
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toContain(`a.jsonl: ${message}`)
  })

  test.each(['', ' padded', 'two\nlines', '\u001b[31mred', 'x'.repeat(65)])(
    'the domain %j is refused',
    async domain => {
      const error = await failure({ paths: [write('a.jsonl', line({ text: 'a', domain }))] })
      expect(error).toBeInstanceOf(ConfigError)
      expect(error.message).toMatch(/1 to 64 printable characters/)
    },
  )

  test('a line without end is refused', async () => {
    const error = await failure({ paths: [write('a.jsonl', Buffer.alloc(65 * 2 ** 20, 'a'))] })
    expect(error.message).toMatch(/a\.jsonl: has a line of more than 64 MiB/)
  })
})

// hyparquet-writer 0.17: columns id (1, 2, 3), text, domain, gzip, row groups of 2 rows; and id alone.
const withText =
  'UEFSMRUGFRQVPFwVBBUAFQQVABUEFQAAAAMDH4sIAAAAAAAAA2NkYGBgYmBgAAB8F4EDCAAAABUGFTgVYFwVBBUCFQQVABUEFQAAAAMBH4sIAAAAAAAAAxNjYGAIyUhVSMssKi5RKMovV8hPUyhJrSjRAwD0ZeIjGgAAABUGFRAVOFwVBBUCFQQVABUEFQAAAAMBH4sIAAAAAAAAA2NiYGBIzQMAFdOKTgYAAAAVBhUMFTRcFQIVABUCFQAVBBUAAAADAR+LCAAAAAAAAANjZmBgAADycPEzBAAAABUGFUwVelwVAhUAFQIVABUEFQAAAAMBH4sIAAAAAAAAAwEkANv/IAAAANCi0YDQtdGC0YzRjyDRgdGC0YDQvtC60LAsIGd6aXAuc5NIdSQAAAAVBhUQFThcFQIVABUCFQAVBBUAAAADAR+LCAAAAAAAAANjYmBgKCoFAG+ebMEGAAAAFQQZTEgEcm9vdBUGABUCJQIYAmlkABUMJQIYBHRleHQlAAAVDCUCGAZkb21haW4lAAAWBhksGTwmCBwVAhkVABkYAmlkFQQWBBY+FmYmCDw2ACgEAgAAABgEAQAAAAAZHBUGFQAVAgAAACZuHBUMGRUAGRgEdGV4dBUEFgQWYhaKASZuPDYCKBBUaGUgZmlyc3Qgcm93IG9nGBBUaGUgZmlyc3Qgcm93IG9mEhIAGRwVBhUAFQIAAAAm+AEcFQwZFQAZGAZkb21haW4VBBYEFjoWYib4ATw2AigCZW4YAmVuABkcFQYVABUCAAAAFtoBFgQ20gIAGTwm2gIcFQIZFQAZGAJpZBUEFgIWNhZeJtoCPDYAKAQDAAAAGAQDAAAAABkcFQYVABUCAAAAJrgDHBUMGRUAGRgEdGV4dBUEFgIWdhakASa4Azw2ACgP0KLRgNC10YLRjNGPINGCGA/QotGA0LXRgtGM0Y8g0YESEgAZHBUGFQAVAgAAACbcBBwVDBkVABkYBmRvbWFpbhUEFgIWOhZiJtwEPDYAKAJydRgCcnUAGRwVBhUAFQIAAAAW5gEWAjbkAgAoCWh5cGFycXVldBk8HAAAHAAAHAAAAM8BAABQQVIx'
const withoutText =
  'UEFSMRUGFRwVIFwVBhUAFQYVABUEFQAAAAMHDCwBAAAAAgAAAAMAAAAVBBksSARyb290FQIAFQIlAhgCaWQAFgYZHBkcJggcFQIZFQAZGAJpZBUCFgYWRhZKJgg8NgAoBAMAAAAYBAEAAAAAGRwVBhUAFQIAAAAWRhYGNkoAKAloeXBhcnF1ZXQZHBwAAABmAAAAUEFSMQ=='

describe('Parquet', () => {
  test('rows of every row group are documents, null texts are passed over', async () => {
    const file = write('rows.parquet', Buffer.from(withText, 'base64'))
    expect((await read({ paths: [file] })).map(({ text, domain }) => [text, domain])).toEqual([
      ['The first row of text.', 'en'],
      ['\u0422\u0440\u0435\u0442\u044c\u044f \u0441\u0442\u0440\u043e\u043a\u0430, gzip.', 'ru'],
    ])
  })

  test('without a text column the error lists the columns', async () => {
    const error = await failure({ paths: [write('ids.parquet', Buffer.from(withoutText, 'base64'))] })
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toMatch(/ids\.parquet: has no 'text' column; its columns are id$/)
  })

  test('damaged files are errors that name them', async () => {
    const whole = Buffer.from(withText, 'base64')
    for (const content of [
      whole.subarray(0, 500),
      Buffer.from('PAR1'),
      Buffer.alloc(0),
      Buffer.alloc(100, 'PAR1'),
    ]) {
      const error = await failure({ paths: [write('bad.parquet', content)] })
      expect(error).toBeInstanceOf(FormatError)
      expect(error.message).toMatch(/bad\.parquet: is damaged or no Parquet file/)
    }
  })
})
