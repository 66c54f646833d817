// The examples, as a reader runs them; each says something that is worth saying.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from './support/cli.ts'

const root = join(import.meta.dirname, '..')
const examples = readdirSync(join(root, 'examples')).filter(name => name.endsWith('.ts'))

/** What an example prints. */
function run(name: string, ...args: string[]): string {
  const result = spawnSync(process.execPath, ['--import', 'tsx', `examples/${name}.ts`, ...args], {
    cwd: root,
    encoding: 'utf8',
  })
  expect(result).toMatchObject({ status: 0, stderr: '' })
  return result.stdout
}

test.each(examples)('%s is short', name => {
  expect(
    readFileSync(join(root, 'examples', name), 'utf8')
      .trimEnd()
      .split('\n').length,
  ).toBeLessThan(100)
})

describe('train-from-code', () => {
  test('learns, evaluates, and saves a folder that the other examples open', () => {
    const out = join(temporaryFolder(), 'model')
    const printed = run('train-from-code', '--steps', '20', '--out', out)
    const losses = [...printed.matchAll(/^step \d+: loss ([\d.]+)/gm)].map(([, loss]) => Number(loss))
    expect(losses[0]).toBeCloseTo(Math.log(512), 0) // at first every token is as likely
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) - 0.5)
    for (const domain of ['bible', 'code', 'es', 'maths'])
      expect(printed).toMatch(new RegExp(`  ${domain}: [\\d.]+ bits per byte`))

    const generated = run('generate', out, '--prompt', 'the', '--tokens', '5')
    expect(generated).toContain(`${out}: mixtral, `)
    expect(generated).toMatch(/\d tokens, ended by (max-new-tokens|end-of-text)/)
    expect(run('read-routing', out, '--text', 'the')).toMatch(/layer 0\n.* -> \d \([\d.]+\), \d/)
  })
})

describe('generate', () => {
  test('writes what its own model knows by heart', () => {
    expect(run('generate')).toContain('A switchyard sends rail cars to their tracks')
  })

  test('ends when its time is over', () => {
    expect(run('generate', '--seconds', '0', '--tokens', '400')).toContain('ended by aborted')
  })
})

test('finetune: a model answers questions that it has not seen', () => {
  const printed = run('finetune')
  const losses = [...printed.matchAll(/^step \d+: ([\d.]+) nats/gm)].map(([, loss]) => Number(loss))
  expect(losses.at(-1)).toBeLessThan(losses[0] ?? 0) // by how much is the processor's last bits': answers are what counts
  expect(printed).toContain('Where does mail? track 3\nWhere does steel? track 5\n')
})

test('classics: experts find a region each by the mixture, and the likelihood rises', () => {
  const printed = run('classics')
  const sure = [...printed.matchAll(/gate is (\d+)% sure/g)].map(([, share]) => Number(share))
  expect(sure[2]).toBeGreaterThan((sure[0] ?? 100) + 5)
  const likelihoods = [...printed.matchAll(/log-likelihood (\S+)/g)].map(([, value]) => Number(value))
  expect(likelihoods).toEqual([...likelihoods].sort((a, b) => a - b))
})

test('recurrent-experts: every model learns, and uses all of its experts', () => {
  const lines = run('recurrent-experts', '--steps', '40').trim().split('\n')
  const bits = lines.map(line => Number(/([\d.]+) bits/.exec(line)?.[1]))
  expect(Math.max(...bits)).toBeLessThan(6) // of 8; the texts' bytes alone have about 4.5
  expect(lines.map(line => /(\d+) of them used/.exec(line)?.[1])).toEqual(['4', '32', '32'])
})

test('own-router: the router takes fewer experts than top-k, and learns', () => {
  const lines = run('own-router', '--steps', '200').trim().split('\n')
  const numbers = lines.map(line => Number(/perToken ([\d.]+)/.exec(line)?.[1]))
  const errors = lines.map(line => Number(/error ([\d.]+)/.exec(line)?.[1]))
  expect(numbers[0]).toBe(2)
  expect(numbers[1]).toBeLessThan(1.8)
  expect(Math.max(...errors)).toBeLessThan(0.6)
})

test('convert: routers and norms stay equal, the rest is close', () => {
  const printed = run('convert')
  expect(printed).toContain('experts as Q8_0: 6')
  expect(printed).toContain('router as F32: 2')
  expect(printed).toMatch(/\d+ of \d+ parameters are equal: norm,router\n/)
  expect(Number(/difference is ([\d.]+)%/.exec(printed)?.[1])).toBeLessThan(0.5) // half a step of 127
  expect(printed).toContain('both write: switchyard sends rail cars')
})

test('read-routing: two experts for each token, whose load adds up', () => {
  const printed = run('read-routing')
  expect(printed.match(/ -> \d \([\d.]+\), \d \([\d.]+\)/g)?.length).toBe(2 * 'to their tracks'.length)
  const load = /load ([\d,]+);/.exec(printed)?.[1]?.split(',').map(Number) ?? []
  expect(load.reduce((sum, count) => sum + count, 0)).toBe(2 * 'to their tracks'.length)
})
