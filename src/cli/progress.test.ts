import { describe, expect, test } from 'vitest'
import { progressLine } from './progress.ts'

const texts = [
  '250/2,000',
  '3m 04s left',
  'loss 5.1234 (step 240)',
  '4.10k tok/s',
  'busiest expert 1.52x mean',
]

describe('a progress line', () => {
  test('never exceeds the terminal, and keeps whole texts', () => {
    for (let width = 20; width <= 140; width++) {
      const line = progressLine(0.125, texts, width)
      expect(line.length).toBeLessThanOrEqual(width)
      const shown = line.replace(/^[━╌]* *12% {2}/, '')
      expect(texts.join('  ').startsWith(shown)).toBe(true)
      expect(texts.some(text => shown.endsWith(text))).toBe(true)
    }
  })

  test('shows everything where there is room, with a bar of full length', () => {
    expect(progressLine(0.125, texts, 140)).toBe(`━━━${'╌'.repeat(21)} 12%  ${texts.join('  ')}`)
  })

  test('gives up the last texts first, then the bar', () => {
    expect(progressLine(0.125, texts, 49)).toBe('━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 12%  250/2,000  3m 04s left')
    expect(progressLine(0.125, texts, 20)).toBe(' 12%  250/2,000')
  })

  test('is only text where nobody knows how far things are', () => {
    expect(progressLine(undefined, ['training the tokenizer'], 12)).toBe('training the')
  })
})
