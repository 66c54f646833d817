import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { crc32c } from './crc32c.ts'
import { MetricsFile } from './jsonl.ts'
import { EventWriter } from './tensorboard.ts'

const folder = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('CRC-32C of the vectors of RFC 3720, appendix B.4', () => {
  const of = (bytes: ArrayLike<number>): string => crc32c(Uint8Array.from(bytes)).toString(16)
  expect(of(new Array(32).fill(0))).toBe('8a9136aa')
  expect(of(new Array(32).fill(255))).toBe('62a8ab43')
  expect(of(Array.from({ length: 32 }, (_, i) => i))).toBe('46dd794e')
  expect(of(Buffer.from('123456789'))).toBe('e3069283')
})

test('an event file is, byte for byte, what TensorFlow writes', () => {
  // Recorded from TensorFlow's own writer: wall time 256.5, scalar v/1 = 1.5 at step 1.
  const header = `${'18'.padEnd(16, '0')}a37f4b22 09 0000000000087040 1a0d 627261696e2e4576656e743a32 bc98212b`
  const scalar = `${'19'.padEnd(16, '0')}8bf10828 09 0000000000087040 1001 2a0c 0a0a 0a03 762f31 15 0000c03f 2cecc087`
  const writer = new EventWriter(folder, () => 256.5)
  writer.scalars(1, { 'v/1': 1.5 })
  writer.close()
  expect(readFileSync(writer.file).toString('hex')).toBe((header + scalar).replaceAll(' ', ''))
})

test('a large step takes several varint bytes', () => {
  const writer = new EventWriter(folder, () => 1)
  writer.scalars(300, { a: 1 })
  writer.restart(2 ** 31)
  writer.close()
  const hex = readFileSync(writer.file).toString('hex')
  expect(hex).toContain('10ac02')
  expect(hex).toContain('108080808008')
})

test('a resumed metrics file drops the lines that will be written again, and a torn one', () => {
  const file = join(folder, 'metrics.jsonl')
  writeFileSync(file, '{"step":1}\n{"step":2}\n{"step":3}\n{"ste')
  const metrics = new MetricsFile(file, 2)
  metrics.write({ step: 3, loss: Number.NaN })
  metrics.close()
  expect(readFileSync(file, 'utf8')).toBe('{"step":1}\n{"step":2}\n{"step":3,"loss":null}\n')
})
