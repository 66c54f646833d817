import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cleanText, countReplacements } from './clean.ts'

describe('cleanText', () => {
  test('cleaning clean text changes nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), text => {
        const clean = cleanText(text)
        expect(cleanText(clean)).toBe(clean)
      }),
      { numRuns: 500 },
    )
  })

  test('what is left can be written as UTF-8', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 0xffff }).map(unit => String.fromCharCode(unit))),
        units => {
          const clean = cleanText(units.join(''))
          expect(Buffer.from(clean).toString()).toBe(clean)
        },
      ),
    )
  })

  test.each([
    ['CRLF and CR become LF', 'a\r\nb\rc', 'a\nb\nc'],
    ['runs of blank lines collapse', 'a\n\n \n\t\n\nb', 'a\n\nb'],
    ['blank lines around go, indentation stays', '\n\n  a\n    b\n\n', '  a\n    b'],
    ['white space at line ends goes', 'a  \nb\t', 'a\nb'],
    ['control characters go, tabs stay', '\ufeffa\u0000\u001b\tb\u0085', 'a\tb'],
    ['characters are composed', 'e\u0301', '\u00e9'],
    ['lone surrogates are replaced', 'a\ud800b', 'a\ufffdb'],
  ])('%s', (_, text, clean) => expect(cleanText(text)).toBe(clean))

  test('emoji and code stay as they are', () => {
    const text = 'func main() {\n\tx := "\u{1f600}"\n}'
    expect(cleanText(text)).toBe(text)
  })
})

test('countReplacements counts U+FFFD', () => {
  expect(countReplacements('a\ufffd\ufffdb\ufffd')).toBe(3)
  expect(countReplacements('abc')).toBe(0)
})
