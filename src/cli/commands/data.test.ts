import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CommanderError } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openCorpus } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import { dataCommand } from './data.ts'
import { describeCorpus } from './data-report.ts'
import { parseTokenizer } from './tokenizer-option.ts'

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

/** Runs `switchyard data ...`; `killWhen` is asked now and then whether to send it a signal, once. */
function switchyard(
  args: string[],
  killWhen: () => boolean = () => false,
  signal: NodeJS.Signals = 'SIGKILL',
): Promise<Outcome> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', 'data', ...args], {
    cwd: root,
  })
  const outcome: Outcome = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', chunk => {
    outcome.stdout += chunk
  })
  child.stderr.on('data', chunk => {
    outcome.stderr += chunk
  })
  const watch = setInterval(() => {
    if (!killWhen()) return
    clearInterval(watch)
    child.kill(signal)
  }, 2)
  return new Promise(resolve => {
    child.on('close', code => {
      clearInterval(watch)
      resolve({ ...outcome, code })
    })
  })
}

test('prepare makes a corpus of the sample and describes it; info repeats that', async () => {
  const out = join(folder, 'sample')
  const prepared = await switchyard(['prepare', '--sample', '--tokenizer', 'bytes', '--out', out])
  expect(prepared.code).toBe(0)
  expect(prepared.stdout).toMatch(/^bible +\d+ +210 kB +20\dk +/m)
  expect(prepared.stdout).toMatch(/^CC0-1\.0 +set\.mm/m)
  const info = await switchyard(['info', out, '--verify'])
  expect(info.stdout).toBe(`${prepared.stdout}\nok the checksums of all 2 shards match\n`)
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
  const args = ['prepare', '--sample', '--tokenizer', 'bytes', '--force', '--out', out]
  let kills = 0
  for (const moment of ['documents', 'corpus/tokenizer.json']) {
    const { code } = await switchyard(args, () => existsSync(join(out, '.preparing', moment)))
    if (code !== null) continue // it was done before the signal came
    kills++
    if (kills === 1) expect(() => openCorpus(out)).toThrow(/is not a corpus/)
  }
  expect(kills).toBeGreaterThan(0)
  expect((await switchyard([...args, '--quiet'])).code).toBe(0)
  expect(readdirSync(out)).not.toContain('.preparing')
})

test('Ctrl-C leaves nothing behind', async () => {
  const out = join(folder, 'interrupted')
  const isReading = (): boolean => existsSync(join(out, '.preparing', 'documents'))
  const { code, stderr } = await switchyard(
    ['prepare', '--sample', '--quiet', '--out', out],
    isReading,
    'SIGINT',
  )
  expect({ code, stderr }).toEqual({ code: 130, stderr: 'note: stopping; nothing is kept\n' })
  expect(existsSync(out)).toBe(false)
})

test('a wrong folder is one line, with exit code 2', async () => {
  const { code, stdout, stderr } = await switchyard(['info', '/nowhere'])
  expect([code, stdout]).toEqual([2, ''])
  expect(stderr).toMatch(/^error: \/nowhere is not a corpus .*data prepare --out \/nowhere'\n$/)
})

describe('in this process', () => {
  /** Runs a command and returns what it printed besides results. */
  async function run(...args: string[]): Promise<string> {
    let printed = ''
    const command = dataCommand()
    const collect = (text: string): void => {
      printed += text
    }
    for (const each of [command, ...command.commands]) {
      each.exitOverride().configureOutput({ writeOut: collect, writeErr: collect })
    }
    await command.parseAsync(args, { from: 'user' }).catch((error: unknown) => {
      if (!(error instanceof CommanderError)) throw error
    })
    return printed
  }

  test('help shows domains and examples', async () => {
    const help = await run('prepare', '--help')
    expect(help).toMatch(/ code +Go source code\n/)
    expect(help).toMatch(/Examples:\n {2}switchyard data prepare --sample/)
    expect(await run('info', '--help')).toMatch(/Example:\n {2}switchyard data info/)
  })

  test('options that are missing or contradict each other are refused', async () => {
    expect(await run('prepare')).toMatch(/required option '--out <dir>'/)
    expect(await run('prepare', '--out', 'x', '--sample', '--from', 'y')).toMatch(/cannot be used with/)
    expect(await run('prepare', '--out', 'x', '--sample', '--domains', 'en')).toMatch(/cannot be used with/)
  })

  test.each([
    [['--domain', 'y'], /^--domain: names the text of --from/],
    [['--domains', 'en,xx'], /^domains: 'xx' is no domain; there are en \(/],
    [['--sample', '--size', 'big'], /^--size: must be a size as 8MB, got 'big'/],
    [
      ['--sample', '--validation', '0.9'],
      /^--validation: must be a number of at least 0 and at most 0.5, got '0.9'/,
    ],
    [['--sample', '--tokenizer', 'bpe:9'], /^tokenizer: a BPE vocabulary has 260 to 30000 tokens, got 9/],
  ])('%j is refused', async (args, message) => {
    const out = join(folder, 'refused')
    await expect(run('prepare', '--quiet', '--out', out, ...args)).rejects.toThrow(ConfigError)
    await expect(run('prepare', '--quiet', '--out', out, ...args)).rejects.toThrow(message)
  })
})

test('a tokenizer is trained, made of bytes, or read from a file', () => {
  expect(parseTokenizer('bytes')).toEqual({ kind: 'bytes' })
  expect(parseTokenizer('bpe:8192')).toEqual({ kind: 'bpe', vocabSize: 8192 })
  const file = fileURLToPath(import.meta.url)
  expect(parseTokenizer(file)).toEqual({ kind: 'file', file })
  for (const text of ['bpe', 'bpe:', 'bpe:many', 'none/tokenizer.json'])
    expect(() => parseTokenizer(text)).toThrow(/bpe:SIZE/)
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
