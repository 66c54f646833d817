import { describe, expect, test } from 'vitest'
import { ConfigError } from '../errors.ts'
import { numberOf, sharesOf, sizeOf, wholeNumberOf } from './values.ts'

describe('sizeOf', () => {
  test.each([
    ['2MB', 2e6],
    ['1.5 gb', 1.5e9],
    ['512KiB', 524_288],
    ['10k', 10_000],
    ['123', 123],
  ])('reads %s as %i bytes', (text, bytes) => expect(sizeOf('--size')(text)).toBe(bytes))

  test.each(['', '0', '-1', 'MB', '2TB', '1e6', '2 M B', 'toString'])('refuses %j', text => {
    expect(() => sizeOf('--size')(text)).toThrow(ConfigError)
  })
})

describe('numberOf', () => {
  test('reads numbers within the range', () => {
    expect(numberOf('--min-p', { least: 0, most: 1 })('0')).toBe(0)
    expect(numberOf('--x')('-1e-3')).toBe(-0.001)
  })

  test.each(['', ' ', 'x', 'NaN', 'Infinity'])('refuses %j', text => {
    expect(() => numberOf('--x')(text)).toThrow(`--x: must be a number, got '${text}'`)
  })

  test('names the range', () => {
    const parse = numberOf('--top-p', { above: 0, most: 1 })
    expect(() => parse('0')).toThrow("--top-p: must be a number above 0 and at most 1, got '0'")
    expect(() => parse('1.1')).toThrow(ConfigError)
  })
})

test('wholeNumberOf refuses fractions and what is below the minimum', () => {
  expect(wholeNumberOf('--n', 1)('3')).toBe(3)
  for (const text of ['0', '1.5', '1e300'])
    expect(() => wholeNumberOf('--n', 1)(text)).toThrow('--n: must be a whole number of at least 1')
})

describe('sharesOf', () => {
  test('reads a list', () => expect(sharesOf('--capacity')('12.5%, 100%')).toEqual([0.125, 1]))

  test.each(['', '0%', '101%', '0.5', '50%,', 'half'])("refuses '%s'", text => {
    expect(() => sharesOf('--capacity')(text)).toThrow(
      `--capacity: must be shares above 0% and at most 100%, as 12.5%,50%, got '${text}'`,
    )
  })
})
