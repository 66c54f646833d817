// Parallel text as pairs: which lines and paragraphs belong together, and what is refused.
import { existsSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { parallelManuals } from '../debian/parallel-manuals.ts'
import { loadTokenizer } from '../tokenizer-file.ts'
import { parallelFiles, parseLanguagePairs } from './parallel.ts'
import { prepareExamples } from './prepare.ts'
import type { ExampleSource } from './source.ts'

const folder = temporaryFolder()

function write(name: string, content: string): string {
  const file = join(folder, name)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, name.endsWith('.gz') ? gzipSync(content) : content)
  return file
}

const [pair] = parseLanguagePairs('en-de', '--pairs')
const pairs = pair ? [pair] : []

/** Source, target and domain of each. */
async function read(source: ExampleSource): Promise<string[][]> {
  const all: string[][] = []
  for await (const record of source.records(() => {}))
    if (record.kind === 'plain') all.push([record.prompt, record.completion, record.domain])
  return all
}

test('pairs of languages', () => {
  expect(parseLanguagePairs('en-de, eng_Latn-pt_BR', '--pairs')).toEqual([
    { source: 'en', target: 'de' },
    { source: 'eng_Latn', target: 'pt_BR' },
  ])
  for (const wrong of ['en', 'en-de-fr', 'en-en', ''])
    expect(() => parseLanguagePairs(wrong, '--pairs')).toThrow(
      '--pairs: must be pairs of languages as en-de,en-fr',
    )
})

describe('files', () => {
  test('line by line, packed or not, each pair once, and none without a translation', async () => {
    write('texts/one.en', 'a signal\npoints\n\na signal\n')
    write('texts/one.de.gz', 'ein Signal\nWeichen\nleer\nein Signal\n')
    write('texts/two.en', 'a lone text\n')
    write('texts/three.en', 'track')
    write('texts/three.de', 'Gleis\r\n')
    expect(await read(parallelFiles([join(folder, 'texts')], pairs))).toEqual([
      ['a signal', 'ein Signal', 'en-de'],
      ['points', 'Weichen', 'en-de'],
      ['track', 'Gleis', 'en-de'],
    ])
  })

  test.skipIf(!existsSync('/proc/self/fd'))('are closed when no more is read', async () => {
    const long = 'a line of text\n'.repeat(100_000) // more than is read ahead
    const files = [write('open/x.en', long), write('open/x.de', long)]
    const isOpen = (file: string): boolean =>
      readdirSync('/proc/self/fd').some(fd => {
        try {
          return readlinkSync(join('/proc/self/fd', fd)) === file
        } catch {
          return false // closed meanwhile
        }
      })
    for await (const _ of parallelFiles(files, pairs).records(() => {})) break
    await expect.poll(() => files.filter(isOpen)).toEqual([]) // streams close in turns to come
  })

  test('of unequal length are refused with both counts', async () => {
    const [en, de] = [write('odd/x.en', 'a\nb\nc\n'), write('odd/x.de', 'a\nb\n')]
    await expect(read(parallelFiles([join(folder, 'odd')], pairs))).rejects.toThrow(
      `${en} has 3 lines and ${de} 2: line by line they must say the same`,
    )
  })

  test('of one language alone are refused', async () => {
    const file = write('alone.en', 'a\n')
    await expect(read(parallelFiles([file], pairs))).rejects.toThrow(
      `${file}: no file NAME.en beside a NAME.de`,
    )
  })
})

describe('manual pages', () => {
  const english = `.TH X 1
.SH NAME
x \\- moves points
.SH DESCRIPTION
.PP
Points lead trains.
.TP
\\fB\\-a\\fR
all of them
.SH FILES
.PP
See also.
.SH AUTHOR
Someone.`
  const german = `.TH X 1
.SH NAME
x \\- stellt Weichen
.SH BESCHREIBUNG
.PP
Weichen leiten Z\\[:u]ge.
.TP
\\fB\\-a\\fR
alle
.SH DATEIEN
.IP
Siehe auch.
.SH \\[:U]BERSETZUNG
Jemand.`

  test('where both are built alike, without credits and what was not translated', async () => {
    write('man/man1/x.1.gz', english)
    write('man/de/man1/x.1.gz', german)
    write('man/man1/y.1.gz', '.SH NAME\ny\n.SH MORE\ntext')
    write('man/de/man1/y.1.gz', '.SH NAME\ny anders') // other sections
    expect(await read(parallelManuals(pairs, join(folder, 'man')))).toEqual([
      ['x - moves points', 'x - stellt Weichen', 'en-de'],
      ['DESCRIPTION', 'BESCHREIBUNG', 'en-de'],
      ['Points lead trains.', 'Weichen leiten Züge.', 'en-de'],
      ['-a all of them', '-a alle', 'en-de'],
    ])
  })

  test('that are not there are refused', async () => {
    await expect(read(parallelManuals(pairs, join(folder, 'none')))).rejects.toThrow(
      'none has no page in both languages of en-de: install manpages-de, or give texts with --from',
    )
  })
})

test('a corpus of pairs, whose tokenizer is made for it and has a token for each language', async () => {
  write('more/x.en', Array.from({ length: 50 }, (_, i) => `train number ${i}`).join('\n'))
  write('more/x.de', Array.from({ length: 50 }, (_, i) => `Zug Nummer ${i}`).join('\n'))
  const corpus = await prepareExamples({
    out: join(folder, 'corpus'),
    source: parallelFiles([join(folder, 'more')], pairs),
    tokenizer: { kind: 'bpe', vocabSize: 300 },
    specialTokens: ['__en__', '__de__'],
    apart: true,
    validation: 0.1,
  })
  expect(corpus.manifest.answers?.examples).toBe(50)
  expect(corpus.manifest.domains[0]?.validation.documents).toBeGreaterThan(0)
  const tokenizer = loadTokenizer(corpus.tokenizerFile)
  expect(tokenizer.vocabSize).toBe(302)
  expect(tokenizer.isSpecial(300)).toBe(true)
  expect(tokenizer.idToToken(301)).toBe('__de__')
  expect(tokenizer.decode(await tokenizer.encode('Zug 7'))).toBe('Zug 7')
})
