import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { FormatError } from '../../../errors.ts'
import { eachFile } from './files.ts'
import { htmlToText } from './html.ts'
import { inScript, keepParagraphs, notEnglish, type ParagraphTest } from './language.ts'
import { manToText, splitArguments } from './man.ts'
import { markdownToText } from './markdown.ts'
import { metamathToTexts } from './metamath.ts'
import { unescapeRoff } from './roff-escapes.ts'
import { osisToTexts, swordModule } from './sword.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-readers-'))
})

afterEach(() => rmSync(folder, { recursive: true }))

test('eachFile reads matching files in order, unpacks gzip, passes links over', () => {
  mkdirSync(join(folder, 'doc/deep'), { recursive: true })
  writeFileSync(join(folder, 'doc/deep/b.txt.gz'), gzipSync('two'))
  writeFileSync(join(folder, 'doc/a.txt'), 'one')
  writeFileSync(join(folder, 'doc/image.png'), 'no')
  symlinkSync('a.txt', join(folder, 'doc/c.txt'))
  const read = eachFile({ under: 'doc', match: /\.txt/, convert: text => [text, text.toUpperCase()] })
  expect([...read(folder)]).toEqual([
    { text: 'one', place: 'doc/a.txt' },
    { text: 'ONE', place: 'doc/a.txt' },
    { text: 'two', place: 'doc/deep/b.txt.gz' },
    { text: 'TWO', place: 'doc/deep/b.txt.gz' },
  ])
})

describe('markdown', () => {
  test.each([
    ['links keep their words', 'see [section _H_](h.md#a) and [ref [1]](x)', 'see section H and ref [1]'],
    ['wrapped lines are joined, hyphens too', 'one\ntwo self-\n employed', 'one two self-employed'],
    [
      'emphasis goes, underscores in words stay',
      '**Bold** and _so_, snake_case_name 2*3',
      'Bold and so, snake_case_name 2*3',
    ],
    ['headings and items stay lines', '# Title\n\n* one\n* two\nmore', 'Title\n\n- one\n- two more'],
    ['quotes lose their marks', '> quoted\n> text', 'quoted text'],
    ['lists of links, rules and images go', 'a\n\n* * *\n\n[A](a) [B](b)\n\n![x](y.png)\n\nb', 'a\n\nb'],
    ['escapes are undone', '1\\. A\\_b', '1. A_b'],
  ])('%s', (_, markdown, text) => expect(markdownToText(markdown)).toBe(text))
})

describe('HTML', () => {
  test('blocks are paragraphs, code stays, scripts and frames go', () => {
    const html = `<html><head><title>No</title></head><body class="x"><nav><p>menu</p></nav>
      <h1>A   title</h1><p>One <b>bold</b>
      line &amp; more&nbsp;&#233;&#x20AC; &unknown;<br>next</p><script>var x = "<p>"</script>
      <ul><li>first</li><li>second</li></ul><table><tr><td>a</td><td>b</td></tr></table>
      <pre><code>if (a &lt; b) {\n  c\n\n}</code></pre><p> - </p></body></html>`
    expect(htmlToText(html)).toBe(
      'A title\n\nOne bold line & more\u00a0\u00e9\u20ac &unknown;\n\nnext\n\n- first\n\n- second\n\na | b\n\nif (a < b) {\n  c\n}\n\n',
    )
  })

  test('only what stands between the marks is read', () => {
    expect(
      htmlToText('<p>a</p><div id="main"><p>b</p><div id="end"><p>c</p>', {
        from: '<div id="main"',
        to: '<div id="end"',
      }),
    ).toBe('b')
  })

  test('impossible character references print nothing', () => {
    expect(htmlToText('<p>a&#0;&#99999999;&#xFFFFFFF;b</p>')).toBe('ab')
  })
})

describe('manual pages', () => {
  test('headings, tagged paragraphs and fonts', () => {
    const page = `.\\" a comment
.TH LS 1 "May 2022" "GNU"
.SH NAME
ls \\- list files
.SH OPTIONS
.TP
\\fB\\-a\\fR, \\fB\\-\\-all\\fR
do not ignore
entries starting with .
.PP
.BR cat (1),
.BI --sort= WORD
.UR https://example.org
site
.UE .
`
    expect(manToText(page)).toBe(
      'NAME\n\nls - list files\n\nOPTIONS\n\n-a, --all do not ignore entries starting with .\n\ncat(1), --sort=WORD https://example.org site',
    )
  })

  test('examples keep their lines', () => {
    expect(manToText('.nf\nint main\\fR()\n  { }\n.fi\nafter\nwards')).toBe(
      'int main()\n  { }\n\nafter wards',
    )
  })

  test('credits, tables, macro definitions and comments are left out', () => {
    const page = `.de XX
junk
..
.ig
junk
..
.SH NOM
texte
.TS
junk
.TE
.SH TRADUCTION
junk
.SS sub
junk
.SH VOIR
fin`
    expect(manToText(page)).toBe('NOM\n\ntexte\n\nVOIR\n\nfin')
  })

  test('pages of the other macro set give nothing', () => {
    expect(manToText('.Dd May 1\n.Dt LS 1\n.Nm ls')).toBe('')
  })

  test.each([
    ['\\fBa\\f[BI]b\\f(CWc\\fP', 'abc'],
    ['\\(aqx\\(aq \\[u00E9] \\[:a] \\(bu \\(em', "'x' \u00e9 \u00e4 \u2022 \u2014"],
    ['a\\&b\\|c\\%d\\/e\\,f\\c', 'abcdef'],
    ["\\s-1small\\s0 \\h'2n'x", 'small x'],
    ['\\e \\\\ a\\~b\\ c \\-', '\\ \\ a b c -'],
    ['\\*(lqq\\*(rq \\*[mine] \\*X', '\u201cq\u201d value '],
    ['text \\" comment', 'text '],
    ['\\', '\\'],
  ])('%j prints as %j', (roff, text) => {
    expect(unescapeRoff(roff, { strings: new Map([['mine', 'value']]) })).toBe(text)
  })

  test('arguments are words or quoted texts', () => {
    expect(splitArguments('one "two three" "say ""hi""" four\\ five \\" rest')).toEqual([
      'one',
      'two three',
      'say "hi"',
      'four\\ five',
    ])
  })
})

test('metamath: explanations and statements by section, without proofs and credits', () => {
  const database = `$( The header $)
$(
#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*
  Logic
#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*#*
$)
  \${
    a.1 $e |- ph $.
    $( A theorem.  (Contributed by A. B.,
       1-Jan-2000.)<HTML><br></HTML>  (Proof modification is discouraged.) $)
    a $p |- ps $= ( c d ) ABC $.
  $}
`
  const [header, section] = metamathToTexts(database)
  expect(header?.trim()).toBe('The header')
  expect(section?.replace(/\s*\n\s*/g, '\n').trim()).toBe('Logic\na.1 $e |- ph $.\nA theorem.\na $p |- ps $.')
})

describe('language', () => {
  test('long paragraphs that were not translated go, short ones stay', () => {
    const english =
      'Returns the number that corresponds to the weekday of the date that is given by the argument.'
    const german =
      'Gibt die Zahl zur\u00fcck, die dem Wochentag des Datums entspricht, das als Argument angegeben ist.'
    const russian = '\u0427\u0438\u0441\u043b\u043e '.repeat(12).trim()
    const read = function* (): Generator<{ text: string; place: string }> {
      yield { text: ['the title of it', english, german, russian].join('\n\n'), place: 'here' }
    }
    const text = (test: ParagraphTest): string => [...keepParagraphs(read, test)('')][0]!.text
    expect(text(notEnglish)).toBe(['the title of it', german, russian].join('\n\n'))
    expect(text(inScript(/\p{Script=Cyrillic}/u))).toBe(['the title of it', russian].join('\n\n'))
  })
})

describe('SWORD', () => {
  test('chapters are texts, paragraphs and verses lines, notes gone', () => {
    const osis = `<div type="book"/><title>Luke</title> <chapter n="1" sID="Luke.1"/>Since <w lemma="x">many</w>, Now<note>1:1 <rdg>x</rdg></note>in
 the<note>y</note>. <div sID="g" type="x-p"/>Next <l sID="a"/>verse one<l eID="a"/><l sID="b"/>verse &amp; two<l eID="b"/> <chapter eID="Luke.1"/><chapter n="2" sID="Luke.2"/>Two`
    expect(osisToTexts(osis)).toEqual([
      'Luke',
      'Since many, Now in the.\n\nNext\nverse one\nverse & two',
      'Two',
    ])
  })

  test('a module is read block by block; a damaged block is an error', () => {
    const blocks = ['<chapter sID="1"/>one', '<chapter sID="2"/>two'].map(text => deflateSync(text))
    const records = Buffer.alloc(36)
    let offset = 0
    for (const [i, block] of blocks.entries()) {
      records.writeUInt32LE(offset, i * 12)
      records.writeUInt32LE(block.length, i * 12 + 4)
      offset += block.length
    }
    writeFileSync(join(folder, 'ot.bzs'), records)
    writeFileSync(join(folder, 'ot.bzz'), Buffer.concat(blocks))
    const texts = [...swordModule('.')(folder)].map(({ text }) => text).filter(text => text !== '')
    expect(texts).toEqual(['one', 'two'])
    writeFileSync(join(folder, 'ot.bzz'), Buffer.alloc(offset))
    expect(() => [...swordModule('.')(folder)]).toThrow(FormatError)
  })
})
