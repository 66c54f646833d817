import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { verifyChecksums, writeChecksums } from './checksums.ts'

const folder = temporaryFolder()
const checkpoint = join(folder, 'step')
const file = (name: string): string => join(checkpoint, name)

/** Two files, and the checksums of both. */
beforeEach(async () => {
  rmSync(checkpoint, { recursive: true, force: true })
  mkdirSync(checkpoint)
  writeFileSync(file('weights'), 'abc')
  writeFileSync(file('empty'), '')
  await writeChecksums(checkpoint)
})

test('of every file the bytes and the SHA-256 are written', () => {
  // The standard's own example (FIPS 180-4), and the digest of nothing.
  expect(JSON.parse(readFileSync(file('checksums.json'), 'utf8'))).toEqual({
    empty: { bytes: 0, sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' },
    weights: { bytes: 3, sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad' },
  })
})

test('files as they were written pass', async () => {
  await expect(verifyChecksums(checkpoint)).resolves.toBeUndefined()
})

describe('damage is refused, and the file named', () => {
  const damaged = async (damage: () => void, message: string): Promise<void> => {
    damage()
    await expect(verifyChecksums(checkpoint)).rejects.toThrow(message)
  }

  test('a byte that changed', () =>
    damaged(
      () => writeFileSync(file('weights'), 'abd'),
      `${file('weights')}: has changed since it was written (SHA-256)`,
    ))

  test('bytes that are missing at the end', () =>
    damaged(
      () => truncateSync(file('weights'), 2),
      `${file('weights')}: has 2 bytes where 3 were written: it is truncated`,
    ))

  test('a file that was empty and is no more', () =>
    damaged(() => writeFileSync(file('empty'), 'x'), `${file('empty')}: has 1 bytes where 0 were written`))

  test('a file that is gone', () =>
    damaged(() => rmSync(file('weights')), `${file('weights')}: is missing from the checkpoint`))

  test('checksums that are gone', () =>
    damaged(
      () => rmSync(file('checksums.json')),
      `${checkpoint}: is not a checkpoint: it holds no checksums.json`,
    ))

  test.each(['no json', '[]', '{"weights": {"bytes": 3}}', '{"weights": {"bytes": 3, "sha256": "short"}}'])(
    'checksums that are none: %s',
    content =>
      damaged(() => writeFileSync(file('checksums.json'), content), `${file('checksums.json')}: is damaged`),
  )
})
