// Reads by threads of their own: whatever their urgency, what is finished is there, and what was given up is not.
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { cancelRead, finishRead, hasRead, hurryRead, startRead, type Tensor, tidy, zeros } from './index.ts'

const tsx = import.meta.resolve('tsx')
const scratch = mkdtempSync(join(tmpdir(), 'switchyard-reads-'))
const file = join(scratch, 'file')
const [rows, rowBytes, count] = [4, 8, 24]
const matrixBytes = rows * rowBytes
writeFileSync(file, Buffer.concat(Array.from({ length: count }, (_, i) => Buffer.alloc(matrixBytes, i + 1))))
const descriptor = openSync(file, 'r')
afterAll(() => {
  closeSync(descriptor)
  rmSync(scratch, { recursive: true })
})

const begin = (to: Tensor, matrix: number, urgency: number): number =>
  startRead(to, 'F32', '', false, [descriptor], [matrix * matrixBytes], [matrixBytes], urgency)

test('are finished in any order, hurried or not, and given up where they waited still', () => {
  const read = fc.record({
    urgency: fc.nat(2),
    next: fc.constantFrom('finish', 'hurry', 'cancel'),
    order: fc.nat(),
  })
  fc.assert(
    fc.property(fc.array(read, { maxLength: count }), reads =>
      tidy(() => {
        const all = reads.map(({ urgency, ...how }, matrix) => {
          const to = zeros([rows, rowBytes], { dtype: 'u8' })
          return { ...how, matrix, to, ticket: begin(to, matrix, urgency) }
        })
        for (const { to, ticket, next, matrix } of all.toSorted((a, b) => a.order - b.order)) {
          if (next === 'hurry') hurryRead(ticket)
          const isGone = next === 'cancel' && cancelRead(ticket)
          if (isGone) expect(() => finishRead(ticket)).toThrow(`there is no read ${ticket}`)
          else finishRead(ticket)
          const bytes = new Set(to.toTypedArray<'u8'>())
          expect(bytes).toEqual(new Set([isGone ? 0 : matrix + 1]))
        }
      }),
    ),
    { numRuns: 50 },
  )
})

test('that have ended say so, and are given up no more', () =>
  tidy(() => {
    const to = zeros([rows, rowBytes], { dtype: 'u8' })
    const [first, second] = [begin(to, 0, 2), begin(zeros([rows, rowBytes], { dtype: 'u8' }), 1, 0)]
    finishRead(second)
    while (!hasRead(first)); // its thread needs nobody
    expect(cancelRead(first)).toBe(false)
    finishRead(first)
    expect(() => hasRead(first)).toThrow('there is no read')
    expect(() => begin(to, 0, 3)).toThrow('a read is needed (0), a guess (1) or spare (2), not 3')
  }))

test('under way when a process ends do not outlive what they write to', () => {
  const code = `
    import { closeSync, openSync, writeFileSync } from 'node:fs'
    import { empty, panelsOf, startRead } from ${JSON.stringify(join(import.meta.dirname, 'index.ts'))}
    const [rows, rowBytes] = [1 << 16, 32 * 34]
    writeFileSync('large', Buffer.alloc(rows * rowBytes))
    const descriptor = openSync('large')
    const to = empty([rows, rowBytes], { dtype: 'u8' })
    for (let i = 0; i < 20; i++) startRead(to, panelsOf('Q8_0'), '', false, [descriptor], [0], [rows * rowBytes], i % 3)
    console.log('begun')`
  writeFileSync(join(scratch, 'end.ts'), code)
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--import', tsx, 'end.ts'], {
    ...{ cwd: scratch, encoding: 'utf8' },
  })
  expect({ status, signal, stdout, stderr }).toEqual({
    status: 0,
    signal: null,
    stdout: 'begun\n',
    stderr: '',
  })
})
