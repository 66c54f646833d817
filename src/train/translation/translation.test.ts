// BLEU and chrF against values that sacrebleu's own tests record (test/test_bleu.py, test/test_chrf.py), and by hand.
import { describe, expect, test } from 'vitest'
import { bleu, bleuOf } from './bleu.ts'
import { chrf } from './chrf.ts'
import { words13a } from './words-13a.ts'

describe('words', () => {
  test.each([
    ['The dog bit the man.', 'The dog bit the man .'],
    ["It wasn't unexpected, was it?", "It wasn't unexpected , was it ?"],
    ['1,000.5 costs $3 - 50%', '1,000.5 costs $ 3 - 50 %'],
    ['from 5-6 to re-use.', 'from 5 - 6 to re-use .'],
    ['&quot;a&quot; &amp; (b)', '" a " & ( b )'],
    ['and/or [x] {y} z@w_v', 'and / or [ x ] { y } z @ w _ v'],
    ['Ende.\n', 'Ende .'],
  ])('%j', (line, words) => expect(words13a(line).join(' ')).toBe(words))
})

describe('BLEU', () => {
  const texts = ['The dog bit the man.', "It wasn't surprising.", 'The man had just bitten him.']
  const first = ['The dog bit the man.', 'It was not unexpected.', 'The man bit him first.']
  const second = ['The dog had bit the man.', 'No one was surprised.', 'The man had bitten the dog.']

  test('of the README of sacrebleu, with two references', () => {
    const references = first.map((reference, i) => [reference, second[i] ?? ''])
    expect(bleu(texts, references).score).toBeCloseTo(48.530827, 6) // as many digits as are recorded
  })

  test('of counts', () => {
    const counts = { correct: [9, 7, 5, 3], total: [10, 8, 6, 4], length: 11, referenceLength: 11 }
    expect(bleuOf(counts).score).toBeCloseTo(83.75922397, 7)
  })

  test('is smoothed where nothing so long is right', () => {
    // 3/4, 1/3, 1/(2 * 2), 1/(4 * 1) by the definition, of `this is a` and `this is`: no brevity penalty.
    const { score, precisions } = bleu(['this is the test'], [['this is a test']])
    expect(precisions).toEqual([75, 100 / 3, 25, 25])
    expect(score).toBeCloseTo((75 * (100 / 3) * 25 * 25) ** 0.25, 10)
  })

  test('is less for texts that are too short', () => {
    const { score, brevityPenalty } = bleu(['a b c d'], [['a b c d e f']])
    expect(brevityPenalty).toBeCloseTo(Math.exp(-0.5), 12)
    expect(score).toBeCloseTo(100 * Math.exp(-0.5), 10)
  })

  test.each([
    [['', ''], 0],
    [['x y z', 'w'], 0],
    [['a b'], 0], // nothing of three words
  ])('of %j is %d', (some, score) => expect(bleu(some, [['a b c d'], ['e f g h']]).score).toBe(score))
})

describe('chrF', () => {
  test.each([
    [['a'], ['a'], 100],
    [[''], ['reference'], 0],
    [['a b c'], ['a b c'], 100],
    [['a b c'], ['abc'], 100],
    [[''], ['c'], 0],
    [['a', 'b'], ['a', 'c'], 50],
    [['aa'], ['ab'], 25],
  ])('of %j against %j is %d, whatever beta', (texts, references, score) => {
    for (const beta of [1, 2, 3]) expect(chrf(texts, references, { beta })).toBeCloseTo(score, 10)
  })

  // Recorded with beta = 3 and with spaces, for which a character stands here that is none.
  test.each([
    [
      'Die Beziehung zwischen Obama und Netanjahu ist nicht gerade freundlich.',
      'Das Verhältnis zwischen Obama und Netanyahu ist nicht gerade freundschaftlich.',
      67.3481606,
    ],
    [
      'risk assessment must be made of those who are qualified and expertise in the sector - these are the scientists .',
      'risk assessment has to be undertaken by those who are qualified and expert in that area - that is the scientists .',
      65.2414427,
    ],
  ])('of %j', (text, reference, score) => {
    const [written, wanted] = [text, reference].map(each => each.replaceAll(' ', '_')) as [string, string]
    expect(chrf([written], [wanted], { beta: 3 })).toBeCloseTo(score, 6)
  })

  test('recall counts four times as much as precision', () => {
    // Of `ab` against `abc`: n = 1: P 1, R 2/3; n = 2: P 1, R 1/2; so P 1, R 7/12.
    expect(chrf(['ab'], ['abc'])).toBeCloseTo((100 * 5 * (7 / 12)) / (4 + 7 / 12), 10)
  })
})
