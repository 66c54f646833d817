// Importance matrices as files: what is written is read, and what is damaged is refused.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { type GgufMetadata, readGgufHeader, writeGguf } from '../../formats/index.ts'
import { type ImportanceMatrix, readImportanceMatrix, writeImportanceMatrix } from './imatrix.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))
const file = join(scratch, 'test.imatrix')

const matrix: ImportanceMatrix = {
  tensors: new Map([
    ['blk.0.ffn_down_exps.weight', { sums: Float64Array.of(1, 2, 0, 0, 5, 6), counts: [3, 0, 7] }],
    ['blk.0.attn_q.weight', { sums: Float64Array.of(0.5, 4), counts: [10] }],
  ]),
  datasets: ['book.txt'],
  chunks: 5,
  chunkSize: 512,
}

describe('an importance matrix', () => {
  test('is read as it was written', () => {
    writeImportanceMatrix(file, matrix)
    const read = readImportanceMatrix(file)
    expect(read).toEqual({ ...matrix, tensors: expect.any(Map) })
    expect(new Map(read.tensors)).toEqual(new Map(matrix.tensors))
  })

  // llama.cpp, tools/imatrix/imatrix.cpp: in_sum2 is ne [K, M], counts ne [1, M].
  test("has llama.cpp's names and shapes", () => {
    writeImportanceMatrix(file, matrix)
    const { metadata, tensors } = readGgufHeader(file)
    expect(metadata.get('general.type')).toEqual({ type: 'string', value: 'imatrix' })
    expect(metadata.get('imatrix.datasets')).toEqual({ type: 'array', of: 'string', value: ['book.txt'] })
    expect(metadata.get('imatrix.chunk_count')).toEqual({ type: 'u32', value: 5 })
    expect(metadata.get('imatrix.chunk_size')).toEqual({ type: 'u32', value: 512 })
    expect([...tensors].map(([name, { type, shape }]) => [name, type, shape])).toEqual([
      ['blk.0.attn_q.weight.in_sum2', 'F32', [1, 2]],
      ['blk.0.attn_q.weight.counts', 'F32', [1, 1]],
      ['blk.0.ffn_down_exps.weight.in_sum2', 'F32', [3, 2]],
      ['blk.0.ffn_down_exps.weight.counts', 'F32', [3, 1]],
    ])
  })

  const imatrixType: GgufMetadata = new Map([['general.type', { type: 'string', value: 'imatrix' }]])
  const f32 = (name: string, shape: number[], values: number[]) => ({
    name,
    type: 'F32' as const,
    shape,
    chunks: () => [new Uint8Array(Float32Array.from(values).buffer)],
  })

  test.each([
    ['a model', new Map(), [], "general.type is not 'imatrix'"],
    ['sums without counts', imatrixType, [f32('a.in_sum2', [1, 2], [1, 2])], "'a' has no .counts"],
    [
      'sums that are no rows',
      imatrixType,
      [f32('a.in_sum2', [3], [1, 2, 3]), f32('a.counts', [2], [1, 1])],
      "'a' has sums [3] and counts [2], which do not go together",
    ],
    [
      'negative sums',
      imatrixType,
      [f32('a.in_sum2', [2], [1, -2]), f32('a.counts', [1], [1])],
      "'a' has numbers that are negative or not finite",
    ],
    [
      'counts that are none',
      imatrixType,
      [f32('a.in_sum2', [2], [1, 2]), f32('a.counts', [1], [Number.NaN])],
      "'a' has numbers that are negative or not finite",
    ],
  ])('%s is refused', (_, metadata: GgufMetadata, tensors, message) => {
    writeGguf(file, metadata, tensors)
    expect(() => readImportanceMatrix(file)).toThrow(message)
  })

  test('property: a damaged file is read or refused in a line', () => {
    writeImportanceMatrix(file, matrix)
    const whole = readFileSync(file)
    fc.assert(
      fc.property(
        fc.nat(whole.length - 1),
        fc.nat(255),
        fc.integer({ min: 0, max: whole.length }),
        (at, byte, end) => {
          const bytes = Uint8Array.from(whole)
          bytes[at] = byte
          writeFileSync(file, bytes.subarray(0, Math.max(end, at + 1)))
          try {
            readImportanceMatrix(file)
          } catch (error) {
            expect((error as Error).name).toBe('FormatError')
            expect((error as Error).message).not.toContain('\n')
          }
        },
      ),
      { numRuns: 300 },
    )
  })
})
