import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openCorpus } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import { describeCorpus } from './data-report.ts'
import { parseNumber, parseSize, parseTokenizer } from './data-values.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-data-command-'))
})

afterAll(() => rmSync(folder, { recursive: true }))

interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs `switchyard data ...`; `killOn` kills it as soon as it prints that on stderr. */
function switchyard(args: string[], killOn?: string): Promise<Outcome> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', 'data', ...args], {
    cwd: root,
  })
  const outcome: Outcome = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', chunk => {
    outcome.stdout += chunk
  })
  child.stderr.on('data', chunk => {
    outcome.stderr += chunk
    if (killOn !== undefined && outcome.stderr.includes(killOn)) child.kill('SIGKILL')
  })
  return new Promise(resolve => child.on('close', code => resolve({ ...outcome, code })))
}

test('prepare makes a corpus of the sample and describes it; info repeats that', async () => {
  const out = join(folder, 'sample')
  const prepared = await switchyard(['prepare', '--sample', '--tokenizer', 'bytes', '--out', out])
  expect(prepared.code).toBe(0)
  expect(prepared.stderr).toMatch(/encoding/)
  expect(prepared.stdout).toMatch(/^bible +\d+ +210 kB +20\dk +/m)
  expect(prepared.stdout).toMatch(/^CC0-1\.0 +set\.mm/m)
  const info = await switchyard(['info', out, '--verify'])
  expect(info.stdout).toBe(prepared.stdout)
  const json = await switchyard(['info', out, '--json'])
  expect(JSON.parse(json.stdout)).toEqual(openCorpus(out).manifest)
})

test('quiet prints the result and nothing else, json the manifest', async () => {
  const text = join(folder, 'lines.jsonl')
  writeFileSync(
    text,
    Array.from({ length: 50 }, (_, i) => `{"text": "line number ${i} of the text"}\n`).join(''),
  )
  const out = join(folder, 'quiet')
  const args = ['prepare', '--from', text, '--tokenizer', 'bytes', '--size', '1kB', '--out', out]
  const { code, stdout, stderr } = await switchyard([...args, '--quiet', '--json'])
  expect([code, stderr]).toEqual([0, ''])
  const manifest = JSON.parse(stdout) as ReturnType<typeof openCorpus>['manifest']
  expect(manifest.domains.map(({ name }) => name)).toEqual(['lines'])
  expect(manifest.domains[0]!.train.bytes).toBeLessThanOrEqual(1000)
})

test('a run killed at any moment leaves no corpus, and the next one succeeds', async () => {
  const out = join(folder, 'killed')
  const args = ['prepare', '--sample', '--tokenizer', 'bytes', '--out', out]
  for (const moment of ['reading', 'training the tokenizer', 'encoding']) {
    const { code } = await switchyard(args, moment)
    expect(code).toBeNull()
    expect(() => openCorpus(out)).toThrow(/is not a corpus/)
  }
  expect((await switchyard([...args, '--quiet'])).code).toBe(0)
})

test.each([
  [['prepare'], 2, /required option '--out <dir>'/],
  [['prepare', '--out', 'x', '--sample', '--from', 'y'], 2, /cannot be used with/],
  [['prepare', '--out', 'x', '--domain', 'y'], 2, /^error: --domain: names the text of --from/],
  [
    ['prepare', '--out', 'x', '--sample', '--size', 'big'],
    2,
    /^error: --size: must be a size as 8MB, got 'big'/,
  ],
  [['prepare', '--out', '/dev/null/x', '--from', '/nowhere/at/all'], 1, /^error: /],
  [['info', '/nowhere'], 1, /^error: \/nowhere is not a corpus .*data prepare --out \/nowhere'/],
])('%j fails with exit code %i and one line', async (args, code, message) => {
  const outcome = await switchyard(args)
  expect(outcome.code).toBe(code)
  expect(outcome.stdout).toBe('')
  expect(outcome.stderr).toMatch(message)
  expect(outcome.stderr).not.toMatch(/\n\s+at /)
})

test('help shows domains and examples', async () => {
  const { code, stdout } = await switchyard(['prepare', '--help'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/ code +Go source code\n/)
  expect(stdout).toMatch(/Examples:\n {2}switchyard data prepare --sample/)
})

describe('values', () => {
  test.each([
    ['2MB', 2e6],
    ['1.5 gb', 1.5e9],
    ['512KiB', 524_288],
    ['10k', 10_000],
    ['123', 123],
  ])('the size %s is %i bytes', (text, bytes) => expect(parseSize(text, '--size')).toBe(bytes))

  test.each(['', '0', '-1', 'MB', '2TB', '1e6', '2 M B', 'toString'])('%j is no size', text => {
    expect(() => parseSize(text, '--size')).toThrow(ConfigError)
  })

  test('numbers', () => {
    expect(parseNumber('0.02', '--validation')).toBe(0.02)
    for (const text of ['', ' ', 'x', 'NaN', 'Infinity'])
      expect(() => parseNumber(text, '--seed')).toThrow(ConfigError)
  })

  test('tokenizers', () => {
    expect(parseTokenizer('bytes')).toEqual({ kind: 'bytes' })
    expect(parseTokenizer('bpe:8192')).toEqual({ kind: 'bpe', vocabSize: 8192 })
    expect(parseTokenizer('models/x/tokenizer.json')).toEqual({
      kind: 'file',
      file: 'models/x/tokenizer.json',
    })
    for (const text of ['bpe', 'bpe:', 'bpe:many']) expect(() => parseTokenizer(text)).toThrow(/bpe:SIZE/)
  })
})

test('what was dropped is told, in the singular where it is one', () => {
  const corpus = openCorpus(join(folder, 'quiet'))
  const cleaning = {
    ...corpus.manifest.cleaning,
    duplicateParagraphs: 1234,
    duplicateBytes: 5e6,
    skippedFiles: 1,
    replacedCharacters: 2,
  }
  const text = describeCorpus({ ...corpus, manifest: { ...corpus.manifest, cleaning } })
  expect(text).toContain(
    '1,234 repeated paragraphs dropped (5.00 MB)\n1 file skipped, no text\n2 characters replaced',
  )
})
