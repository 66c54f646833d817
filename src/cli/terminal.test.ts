import { describe, expect, test } from 'vitest'
import type { Evaluation } from '../train/index.ts'
import { expertLoadTable } from './evaluation-tables.ts'
import { shortBytes, shortCount, shortTime, wrapList, wrappedTable } from './terminal.ts'

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.00 kB'],
  [9_996, '10.0 kB'],
  [99_960, '100 kB'],
  [999_499, '999 kB'],
  [999_500, '1.00 MB'],
  [12_345_678, '12.3 MB'],
  [5e15, '5000 TB'],
])('%i bytes are %s', (bytes, text) => expect(shortBytes(bytes)).toBe(text))

test('counts and times are short', () => {
  expect([shortCount(0.5), shortCount(2048), shortCount(999_999)]).toEqual(['0.50', '2.05k', '1.00M'])
  expect([5.64, 9.99, 59.9, 184, 3720].map(shortTime)).toEqual(['5.6s', '9s', '59s', '3m 04s', '1h 02m'])
})

test('a list wraps below its first item', () => {
  expect(wrapList(['one', 'two', 'three'], 2, 12)).toBe('one, two,\n  three')
  expect(wrapList(['one', 'two', 'three'], 0, 80)).toBe('one, two, three')
})

test('a wide table continues below, with its first column again', () => {
  const rows = [
    ['', 'a', 'b', 'c'],
    ['x', '1', '2', '3'],
  ]
  expect(wrappedTable(rows, 7)).toBe('   a  b\nx  1  2\n   c\nx  3')
})

describe('the expert load', () => {
  const evaluation = (experts: number): Evaluation => ({
    tokens: 1,
    loss: 0,
    perplexity: 1,
    bitsPerByte: 0,
    domains: ['en', 'code'].map(name => ({ name, tokens: 1, loss: 0, perplexity: 1, bitsPerByte: 0 })),
    moeLayers: [3],
    retrieval: [],
    expertLoad: [[0, 1].map(d => Array.from({ length: experts }, (_, e) => (d === 0 ? 1000 : e * e)))],
  })
  const linesOf = (experts: number, width: number): string[] =>
    expertLoadTable(evaluation(experts), width).split('\n')

  test.each([
    [8, 80],
    [8, 50],
    [32, 80],
    [256, 80],
  ])('of %i experts fits %i columns', (experts, width) => {
    const lines = linesOf(experts, width)
    expect(lines).toContain('share of routed tokens in %, by layer and expert')
    expect(Math.max(...lines.map(line => line.length))).toBeLessThanOrEqual(width)
  })

  test('is a share per expert, or the extremes of many', () => {
    expect(linesOf(4, 80).slice(-3)).toEqual([
      'layer 3   0   1   2   3',
      'en       25  25  25  25',
      'code      0   7  29  64',
    ])
    expect(linesOf(64, 80).at(-1)).toMatch(/^code +4\.7 +63 +0\.0 +0 +1$/)
  })

  test('is nothing for a dense model', () => {
    expect(expertLoadTable({ ...evaluation(4), expertLoad: [] }, 80)).toBe('')
  })
})
