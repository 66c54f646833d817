// Damaged and malicious model files: whatever is done to a valid one, opening it succeeds or says what is wrong. No crash,
// no hang, no memory beyond what the file can fill. `make fuzz` runs twenty times as many cases.

import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { byteTokenizerFiles, loadTokenizer } from '../../src/data/index.ts'
import { SwitchyardError } from '../../src/errors.ts'
import { readGgufHeader, readSafetensorsHeader } from '../../src/formats/index.ts'
import {
  ggufTokenizer,
  matchTensors,
  openSource,
  parseTypeRules,
  tokenizerMetadata,
  writeGgufModel,
} from '../../src/models/index.ts'

const cases = Number(process.env.FUZZ_CASES ?? 1000)
const kinds = 5
const slowest = 2000 // ms
const mostGrowth = 256 * 2 ** 20

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-fuzz-'))
afterAll(() => rmSync(scratch, { recursive: true }))
const fixture = fileURLToPath(new URL('../fixtures/mixtral', import.meta.url))

/** A folder with a valid model of which one file is going to be damaged. */
function folderOf(name: string): string {
  const folder = join(scratch, name)
  mkdirSync(folder)
  for (const file of ['config.json', 'model.safetensors'])
    copyFileSync(join(fixture, file), join(folder, file))
  for (const [file, content] of Object.entries(byteTokenizerFiles()))
    writeFileSync(join(folder, file), content)
  return folder
}

/** Changes of bytes, mostly in the header; lengths and counts get extreme values; the end may be cut off. */
function damagedBytes(valid: Buffer, header: number): fc.Arbitrary<Buffer> {
  const place = fc.oneof({ weight: 9, arbitrary: fc.nat(header - 1) }, fc.nat(valid.length - 1))
  const extreme = fc.constantFrom(
    0n,
    1n,
    0x7fffffffn,
    0xffffffffn,
    1n << 40n,
    (1n << 63n) - 1n,
    (1n << 64n) - 1n,
  )
  const edit = fc.oneof(fc.record({ at: place, byte: fc.nat(255) }), fc.record({ at: place, long: extreme }))
  const cut = fc.option(fc.nat(valid.length), { freq: 5 })
  return fc.tuple(fc.array(edit, { minLength: 1, maxLength: 6 }), cut).map(([edits, end]) => {
    const bytes = Buffer.from(valid)
    for (const change of edits) {
      if ('byte' in change) bytes[change.at] = change.byte
      else bytes.writeBigUInt64LE(change.long, Math.min(change.at, bytes.length - 8))
    }
    return end === null ? bytes : bytes.subarray(0, end)
  })
}

/** Changes of values anywhere in a JSON file, beside changes of its bytes. */
function damagedJson(valid: Buffer): fc.Arbitrary<Buffer> {
  const json: unknown = JSON.parse(valid.toString())
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom<unknown>(
      -1,
      0,
      0.5,
      1,
      7,
      1e6,
      2 ** 31,
      1e18,
      '',
      '../../etc/passwd',
      null,
      true,
      undefined, // removes the value
      [],
      {},
    ),
  )
  const edits = fc.array(fc.tuple(fc.nat(1e6), value), { minLength: 1, maxLength: 3 })
  const edited = edits.map(changes => {
    const copy = structuredClone(json)
    for (const [pick, to] of changes) changeSomewhere(copy, pick, to)
    return Buffer.from(JSON.stringify(copy))
  })
  return fc.oneof({ weight: 3, arbitrary: edited }, damagedBytes(valid, valid.length))
}

/** Replaces one value, or removes it when the new one is undefined. */
function changeSomewhere(json: unknown, pick: number, to: unknown): void {
  const places: [object, string][] = []
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const key of Object.keys(value)) {
      places.push([value, key])
      visit((value as Record<string, unknown>)[key])
    }
  }
  visit(json)
  const [holder, key] = places[pick % places.length] ?? []
  if (holder && key !== undefined) (holder as Record<string, unknown>)[key] = to
}

/** Opens a file as it is, which must succeed, and after each change of it. */
function fuzz(file: string, damaged: fc.Arbitrary<Buffer>, open: () => unknown): void {
  open()
  const before = process.memoryUsage().rss
  fc.assert(
    fc.property(damaged, bytes => {
      writeFileSync(file, bytes)
      const started = performance.now()
      try {
        open()
      } catch (error) {
        if (!(error instanceof SwitchyardError)) throw error
        expect(error.message.length).toBeGreaterThan(0)
      }
      expect(performance.now() - started).toBeLessThan(slowest)
    }),
    { numRuns: Math.ceil(cases / kinds) },
  )
  expect(process.memoryUsage().rss - before).toBeLessThan(mostGrowth)
}

const timeout = 60_000 + cases * 20

test('safetensors', { timeout }, () => {
  const folder = folderOf('safetensors')
  const file = join(folder, 'model.safetensors')
  const valid = readFileSync(file)
  const header = 8 + Number(valid.readBigUInt64LE())
  fuzz(file, damagedBytes(valid, header), () => matchTensors(openSource(folder)))
})

test('config.json', { timeout }, () => {
  const folder = folderOf('config')
  const file = join(folder, 'config.json')
  fuzz(file, damagedJson(readFileSync(file)), () => matchTensors(openSource(folder)))
})

test('the index of shards', { timeout }, () => {
  const folder = folderOf('index')
  const file = join(folder, 'model.safetensors.index.json')
  const names = [...readSafetensorsHeader(join(folder, 'model.safetensors')).tensors.keys()]
  const shard = 'model-00001-of-00001.safetensors'
  renameSync(join(folder, 'model.safetensors'), join(folder, shard))
  const weight_map = Object.fromEntries(names.map(name => [name, shard]))
  writeFileSync(file, JSON.stringify({ metadata: { total_size: 1 }, weight_map }))
  fuzz(file, damagedJson(readFileSync(file)), () => matchTensors(openSource(folder)))
})

test('GGUF', { timeout }, () => {
  const folder = folderOf('gguf')
  const file = join(scratch, 'damaged.gguf')
  writeGgufModel(openSource(folder), file, {
    rules: parseTypeRules('f16', ''),
    name: 'valid',
    tokenizer: tokenizerMetadata(folder, 300),
  })
  const valid = readFileSync(file)
  const header = Math.min(...[...readGgufHeader(file).tensors.values()].map(tensor => tensor.offset))
  fuzz(file, damagedBytes(valid, header), () => {
    matchTensors(openSource(file))
    ggufTokenizer(file)
  })
})

test('tokenizer.json', { timeout }, () => {
  const folder = folderOf('tokenizer')
  const file = join(folder, 'tokenizer.json')
  fuzz(file, damagedJson(readFileSync(file)), () => loadTokenizer(file).decode([3, 300, 5]))
})
