import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { mapFile } from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(folder, { recursive: true }))

function fileWith(bytes: Uint8Array): string {
  const path = join(folder, `${Math.random()}.bin`)
  writeFileSync(path, bytes)
  return path
}

test('a byte range of a mapped file is a tensor, which outlives the closed file', () => {
  const file = mapFile(fileWith(new Uint8Array(Float32Array.from([1, 2, 3, 4, 5, 6]).buffer)))
  const x = file.tensor(8, [2, 2], 'f32')
  file.close()
  expect(x.tolist()).toEqual([
    [3, 4],
    [5, 6],
  ])
})

test('in-place operators never reach the file', () => {
  const path = fileWith(new Uint8Array(Float32Array.from([1, 2]).buffer))
  using file = mapFile(path)
  expect(file.tensor(0, [2], 'f32').mul_(10).tolist()).toEqual([10, 20])
  expect([...new Float32Array(new Uint8Array(readFileSync(path)).buffer)]).toEqual([1, 2])
})

test('unaligned elements are copied', () => {
  const bytes = new Uint8Array(9)
  bytes.set(new Uint8Array(Float64Array.from([2.5]).buffer), 1)
  using file = mapFile(fileWith(bytes))
  expect(file.tensor(1, [1], 'f64').tolist()).toEqual([2.5])
})

test('ranges outside of the file, overflowing shapes and missing files are refused', () => {
  using file = mapFile(fileWith(new Uint8Array(16)))
  expect(() => file.tensor(8, [3], 'f32')).toThrow('bytes 8+12 lie outside the file of 16 bytes')
  expect(() => file.tensor(-4, [1], 'f32')).toThrow('outside')
  expect(() => file.tensor(0, [2 ** 40, 2 ** 40], 'f32')).toThrow('too large')
  expect(() => file.tensor(0, [-1], 'f32')).toThrow('negative')
  expect(() => mapFile(join(folder, 'none'))).toThrow('No such file')
  expect(() => mapFile(folder)).toThrow('not a regular file')
})

test('an empty file gives empty tensors', () => {
  using file = mapFile(fileWith(new Uint8Array(0)))
  expect(file.tensor(0, [0, 3], 'i32').shape).toEqual([0, 3])
})
