// What long examples are told by.
import { expect, test } from 'vitest'
import { refuseLong } from './long-examples.ts'

test('are counted, and the longest told, however many there are', () => {
  const lengths = new Array<number>(300_000).fill(5) // far more than a call has arguments
  lengths[7] = 9
  expect(() => refuseLong('examples are', lengths, { all: 400_000, sequenceLength: 4 })).toThrow(
    'data.long: 300000 of 400000 examples are longer than data.sequenceLength, 4 (the longest 9): set that higher',
  )
})
