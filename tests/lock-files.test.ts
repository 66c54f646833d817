// `npm ci` refuses a lock file without every optional platform package, which npm leaves out when it writes one beside
// an installed node_modules.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

interface Locked {
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

test.each(['package-lock.json', 'tests/interop/package-lock.json'])('%s has all that it names', path => {
  const text = readFileSync(join(import.meta.dirname, '..', path), 'utf8')
  const packages: Record<string, Locked> = JSON.parse(text).packages
  const places = Object.keys(packages)
  const missing = places.flatMap(place => {
    const { dependencies, optionalDependencies } = packages[place] as Locked
    const named = Object.keys({ ...dependencies, ...optionalDependencies })
    return named.filter(name => !places.some(other => other.endsWith(`node_modules/${name}`)))
  })
  expect(missing).toEqual([])
})
