import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { apiKeysOf } from './api-keys.ts'

const file = join(temporaryFolder(), 'keys')

test('keys are those of the environment and of the file', () => {
  writeFileSync(file, '# of the team\nfrom-a-file\n\n')
  expect(apiKeysOf(file, 'of-somebody, of-another')).toEqual(['of-somebody', 'of-another', 'from-a-file'])
  expect(apiKeysOf(undefined, '')).toEqual([])
})

test('a key that is too short is refused where it stands', () => {
  writeFileSync(file, 'long-enough\nshort\n')
  expect(() => apiKeysOf(undefined, 'long-enough,secret')).toThrow(
    'SWITCHYARD_API_KEYS: the 2. key must be 8 to 512 printable characters without spaces',
  )
  expect(() => apiKeysOf(file, '')).toThrow('--api-key-file: the 2. key must be 8 to 512')
})
