import fc from 'fast-check'
import { expect, test } from 'vitest'
import { splitText } from './split-text.ts'

const text = fc.string({
  unit: fc.constantFrom('a', ' ', '\n', '\n\n', '\u{1f600}', '\u4e2d'),
  maxLength: 400,
})

test('parts joined give the text, none is longer than the limit or empty', () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 2, max: 50 }), (value, limit) => {
      const parts = splitText(value, limit)
      expect(parts.join('')).toBe(value)
      for (const part of parts) {
        expect(part.length).toBeGreaterThan(0)
        expect(part.length).toBeLessThanOrEqual(limit)
      }
    }),
  )
})

test('no part ends in half a character', () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 2, max: 50 }), (value, limit) => {
      for (const part of splitText(value, limit)) expect(Buffer.from(part).toString()).toBe(part)
    }),
  )
})

test('paragraphs are cut before lines, lines before words', () => {
  expect(splitText('aaaa\n\nbbb\nccc', 10)).toEqual(['aaaa\n\n', 'bbb\nccc'])
  expect(splitText('aaaa\nbb ccc', 8)).toEqual(['aaaa\n', 'bb ccc'])
  expect(splitText('aaaa bbbb', 7)).toEqual(['aaaa ', 'bbbb'])
  expect(splitText('aaaaaaaa', 4)).toEqual(['aaaa', 'aaaa'])
})

test('a line end near the start does not make a tiny part', () => {
  expect(splitText(`a\n\n${'b'.repeat(20)}`, 10)).toEqual([`a\n\n${'b'.repeat(7)}`, 'b'.repeat(10), 'bbb'])
})
