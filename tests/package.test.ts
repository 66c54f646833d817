// The package as npm would install it: its entry points, its types, its command.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { temporaryFolder } from './support/cli.ts'

const root = join(import.meta.dirname, '..')
const project = temporaryFolder()
const installed = join(project, 'node_modules', 'switchyard')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

beforeAll(() => {
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }]
  mkdirSync(installed, { recursive: true })
  execFileSync('tar', ['xzf', join(project, filename), '--strip-components=1', '-C', installed])
  // Its dependencies are those installed here; its native addon is the one built here.
  for (const name of Object.keys(manifest.dependencies)) {
    const place = join(project, 'node_modules', name)
    mkdirSync(dirname(place), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), place)
  }
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }')
}, 60_000)

const env = { ...process.env, SWITCHYARD_ADDON: join(root, 'build/native/switchyard.node') }

describe('the packed package', () => {
  // tsc leaves a dynamic import as it is written in a function that holds a `using`.
  test('imports no file that only the sources have', () => {
    const files = readdirSync(join(installed, 'dist'), { recursive: true, encoding: 'utf8' })
    const scripts = files.filter(file => file.endsWith('.js'))
    expect(scripts.length).toBeGreaterThan(300)
    const importing = scripts.filter(file =>
      /(import\(|from) ?['"][^'"]+\.ts['"]/.test(readFileSync(join(installed, 'dist', file), 'utf8')),
    )
    expect(importing).toEqual([])
  })

  test('holds what it needs and nothing else', () => {
    expect(readdirSync(installed).sort()).toEqual([
      'LICENSE',
      'README.md',
      'dist',
      'native',
      'package.json',
      'recipes',
      'samples',
      'scripts',
    ])
    const tests = execFileSync('find', [installed, '-name', '*.test.*'], { encoding: 'utf8' })
    expect(tests).toBe('')
    const size = Number(execFileSync('du', ['-sk', installed], { encoding: 'utf8' }).split('\t')[0])
    expect(size).toBeLessThan(9000) // kB: code and types, no data; it has 7,972
  })

  test('every entry point can be imported and has types', () => {
    const entries = Object.entries(manifest.exports as Record<string, { types: string } | string>)
    for (const [, entry] of entries)
      if (typeof entry === 'object') expect(statSync(join(installed, entry.types)).isFile()).toBe(true)
    const names = entries
      .filter(([, entry]) => typeof entry === 'object')
      .map(([name]) => `switchyard${name.slice(1)}`)
    const program = names.map(name => `await import(${JSON.stringify(name)})`).join('\n')
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: project,
      env,
      encoding: 'utf8',
    })
    expect(result.stderr).toBe('')
  })

  test('computes', () => {
    const program = "import { tensor } from 'switchyard/torch'; console.log(tensor([1, 2]).sum().item())"
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: project,
      env,
      encoding: 'utf8',
    })
    expect(result.stdout).toBe('3\n')
  })

  test('without a built addon, says how to build it', () => {
    const program = "import { tensor } from 'switchyard/torch'; tensor([1, 2])"
    const bare = { ...process.env, SWITCHYARD_ADDON: undefined }
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: project,
      env: bare,
      encoding: 'utf8',
    })
    expect(result.stderr).toContain('the native addon is not built')
  })

  test('its command runs', () => {
    const main = join(installed, manifest.bin.switchyard)
    expect(spawnSync(process.execPath, [main, '--version'], { encoding: 'utf8' }).stdout).toBe(
      `${manifest.version}\n`,
    )
    const prepared = spawnSync(
      process.execPath,
      [
        main,
        'data',
        'prepare',
        '--sample',
        '--tokenizer',
        'bytes',
        '--out',
        join(project, 'corpus'),
        '--quiet',
      ],
      { encoding: 'utf8' },
    )
    expect(prepared).toMatchObject({ status: 0, stderr: '' })
  })
})

test('the first program of the README is that of examples/, and runs', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const program = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  const example = readFileSync(join(root, 'examples/moe-layer.ts'), 'utf8').replace(/^(\/\/.*\n)+\n/, '')
  expect(program).toBe(example)
  expect(program.split('\n').length).toBeLessThan(40)
  writeFileSync(join(project, 'first.ts'), program)
  const tsx = join(root, 'node_modules/tsx/dist/loader.mjs')
  const result = spawnSync(process.execPath, ['--import', tsx, 'first.ts'], {
    cwd: project,
    env,
    encoding: 'utf8',
  })
  expect(result.stderr).toBe('')
  const lines = result.stdout.trim().split('\n')
  const errors = lines.map(line => Number(line.split(' ')[0]))
  expect(errors.length).toBe(5)
  expect(errors.at(-1)).toBeLessThan((errors[0] ?? 0) / 10) // it learns
  const load =
    lines
      .at(-1)
      ?.match(/\d+(?=[, ])/g)
      ?.slice(-4)
      .map(Number) ?? []
  expect(Math.min(...load)).toBeGreaterThan(32) // of 64 each: no expert is idle
})
