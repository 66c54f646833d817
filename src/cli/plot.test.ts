import { expect, test } from 'vitest'
import { plot } from './plot.ts'

test('curves are straight between their points, and the first is seen where they meet', () => {
  const rising = {
    mark: '.',
    points: [
      [0, 0],
      [1, 1],
    ] as const,
  }
  const flat = {
    mark: 'x',
    points: [
      [0.25, 0.5],
      [0.75, 0.5],
    ] as const,
  }
  expect(plot([flat, rising], 35, 5)).toBe(
    [
      '100% |                         ....',
      ' 75% |                  .......',
      ' 50% |       xxxxxxxxxxxxxxx',
      ' 25% |    .......',
      '  0% |....',
      '     +-----------------------------',
      '     0%     25%    50%    75%  100%',
    ].join('\n'),
  )
})

test('one point alone is seen', () => {
  expect(plot([{ mark: 'o', points: [[0.5, 1]] }], 27, 5).split('\n')[0]).toBe('100% |          o')
})

test('no line is wider than asked for', () => {
  const curve = {
    mark: 'o',
    points: [
      [0, 0],
      [1, 1],
    ] as const,
  }
  for (const width of [40, 80]) {
    const lines = plot([curve], width, 21).split('\n')
    expect(Math.max(...lines.map(line => line.length))).toBeLessThanOrEqual(width)
  }
})
