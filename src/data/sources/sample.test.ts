import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { sampleSource } from './sample.ts'

test('the sample holds four domains of like size, in under a megabyte', async () => {
  const bytes: Record<string, number> = {}
  for await (const { domain, text } of sampleSource().documents(() => {})) {
    bytes[domain] = (bytes[domain] ?? 0) + Buffer.byteLength(text)
  }
  expect(Object.keys(bytes)).toEqual(['bible', 'code', 'es', 'maths'])
  for (const size of Object.values(bytes)) expect(size).toBeGreaterThan(200_000)
  const files = Object.keys(bytes).map(name => new URL(`../../../samples/${name}.jsonl`, import.meta.url))
  expect(files.reduce((sum, file) => sum + statSync(fileURLToPath(file)).size, 0)).toBeLessThan(1e6)
})

test('every part of the sample names its licence', () => {
  for (const { licence } of sampleSource().origins()) expect(licence).toMatch(/BSD|CC0|public domain/)
})
