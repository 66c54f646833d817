import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StoredDocument } from './document-store.ts'
import { selectDocuments, sumBytes } from './select.ts'

const documentsOf = (sizes: number[]): StoredDocument[] =>
  sizes.map((bytes, i) => ({ domain: 'en', bytes, offset: i }))

const sizes = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 2, maxLength: 80 })

describe('selectDocuments', () => {
  test('no document is in both splits, none twice, and the size holds', () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: 200, max: 4000 }), fc.integer(), (bytes, size, seed) => {
        const { train, validation } = selectDocuments(documentsOf(bytes), { size, validation: 0.1, seed })
        const all = [...train, ...validation]
        expect(new Set(all).size).toBe(all.length)
        expect(sumBytes(all)).toBeLessThanOrEqual(size)
        expect(train.length).toBeGreaterThan(0)
        expect(validation.length).toBeGreaterThan(0)
      }),
    )
  })

  test('validation holds its share, and not one document more', () => {
    const { train, validation } = selectDocuments(documentsOf(new Array(1000).fill(10)), {
      size: Number.POSITIVE_INFINITY,
      validation: 0.02,
      seed: 1,
    })
    expect([train.length, validation.length]).toEqual([980, 20])
  })

  test('without a size everything is taken, without validation all is for training', () => {
    const documents = documentsOf([1, 2, 3])
    const { train, validation } = selectDocuments(documents, {
      size: Number.POSITIVE_INFINITY,
      validation: 0,
      seed: 1,
    })
    expect(new Set(train)).toEqual(new Set(documents))
    expect(validation).toEqual([])
  })

  test('the seed decides', () => {
    const documents = documentsOf(new Array(50).fill(10))
    const pick = (seed: number): number[] =>
      selectDocuments(documents, { size: 200, validation: 0.1, seed }).train.map(({ offset }) => offset)
    expect(pick(1)).toEqual(pick(1))
    expect(pick(1)).not.toEqual(pick(2))
  })

  test('too little text is an error that says what to do', () => {
    const options = { size: 100, validation: 0.1, seed: 1 }
    expect(() => selectDocuments(documentsOf([50]), options)).toThrow(/single document.*or hold out none/)
    expect(() => selectDocuments(documentsOf([500]), options)).toThrow(/no document fits into 100 bytes/)
  })
})
