import { expect, test } from 'vitest'
import { countParameters, presetConfig, presetCounts, presetNames, presetOf } from './index.ts'

/** Exact where config.json or the paper's sizes give every tensor. */
test.each([
  ['mixtral-8x7b', 46_702_792_704, 12_879_925_248],
  ['mixtral-8x22b', 140_630_071_296, 39_161_468_928],
  ['olmoe-1b-7b', 6_919_161_856, 1_282_017_280],
  ['switch-base-128', 7_415_169_024, 224_034_816],
  ['switch-base-256', 14_664_105_984, 225_214_464],
])('%s has %i parameters, of which a token uses %i', (name, total, active) => {
  expect(presetCounts(presetOf(name))).toMatchObject({ total, active })
})

/** Published to these digits: GLaM table 4, Switch table 9 (395B, 1571B), DeepSeek-V3 section 4.2 (671B, 37B). */
test.each([
  ['glam-64b-64e', 1.1618e12, 9.66e10],
  ['deepseek-v3', 6.71e11, 3.755e10],
  ['switch-xxl', 3.947e11, undefined],
  ['switch-c', 1.571e12, undefined],
])('%s has about %d parameters, of which a token uses about %d', (name, total, active) => {
  const counts = presetCounts(presetOf(name))
  const digits = (value: number, like: number): number =>
    Number(value.toPrecision(like.toExponential().replace(/e.*|\./g, '').length))
  expect(digits(counts.total, total)).toBe(total)
  if (active !== undefined) expect(digits(counts.active, active)).toBe(active)
})

test('the experts of Switch-C, and what is beside them', () => {
  const { parts } = presetCounts(presetOf('switch-c'))
  expect(parts).toMatchObject({ experts: 1_570_347_417_600, attention: 766_771_200, routers: 127_795_200 })
})

test('GLaM uses 8% of its parameters, though 2 of 64 experts are 3%', () => {
  const { total, active } = presetCounts(presetOf('glam-64b-64e'))
  expect(active / total).toBeCloseTo(0.083, 3)
})

test.each(['mixtral-8x7b', 'mixtral-8x22b', 'olmoe-1b-7b'])(
  '%s: the closed form is what its config.json gives',
  name => {
    const { total, active } = presetCounts(presetOf(name))
    expect(countParameters(presetConfig(name))).toMatchObject({ total, active })
  },
)

test('DeepSeek-V3 has a bias beside what the closed form counts, which no gradient trains', () => {
  const { total } = presetCounts(presetOf('deepseek-v3'))
  expect(countParameters(presetConfig('deepseek-v3')).total).toBe(total + 58 * 256)
})

test.each([128, 256])('Switch-Base of %i experts has norms and position biases beside that', experts => {
  const name = `switch-base-${experts}`
  const norms = 12 * 2 * 768 + 12 * 3 * 768 + 2 * 768
  const positions = 2 * 32 * 12
  expect(countParameters(presetConfig(name)).total).toBe(
    presetCounts(presetOf(name)).total + norms + positions,
  )
})

test('a preset that cannot be made says so, and names those that can', () => {
  expect(() => presetConfig('switch-c')).toThrow(
    'preset:switch-c: Switch-C can be counted but not made; these can: mixtral-8x7b, ',
  )
})

test('parts add up, and a wrong name lists the right ones', () => {
  for (const name of presetNames) {
    const { total, active, parts } = presetCounts(presetOf(name))
    expect(Object.values(parts).reduce((a, b) => a + b)).toBe(total)
    expect(active).toBeLessThan(total)
  }
  expect(() => presetOf('gpt')).toThrow('preset:gpt: is no preset; there are mixtral-8x7b, ')
})
