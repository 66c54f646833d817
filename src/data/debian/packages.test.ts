import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DataError } from '../../errors.ts'
import { PackageCache } from './packages.ts'
import { debianSource } from './source.ts'

// Stand-ins for apt-get and dpkg-deb: packages are folders in REPO; without lists apt-get knows none of them.
const aptGet = `#!/bin/sh
echo "apt-get $*" >> "$REPO/log"
own=no
while :; do case "$1" in
  -oDir::State::Lists=*) own=\${1#*=}; shift ;;
  -*) shift ;;
  *) break ;;
esac; done
lists=$REPO/system-lists
[ "$own" = no ] || lists=$own/fetched
case "$1" in
  update)
    [ -e "$REPO/network" ] || { echo "W: ignored" >&2; echo "E: Failed to fetch http://x Could not resolve 'x'" >&2; exit 100; }
    touch "$lists"; exit 0 ;;
esac
shift
[ "$1" != --print-uris ] || { print=yes; shift; }
for name; do
  [ -e "$lists" ] && [ -d "$REPO/$name" ] || { echo "E: Unable to locate package $name" >&2; exit 100; }
  if [ "$print" = yes ]; then echo "'http://x/\${name}_1.0_all.deb' \${name}_1.0_all.deb 1000 SHA256:0"
  else [ ! -e "$REPO/$name/unreachable" ] || { echo "E: Failed to fetch $name" >&2; exit 100; }
    echo "$name" > "\${name}_1.0_all.deb"; fi
done
`
const dpkgDeb = `#!/bin/sh
name=$(cat "$2")
case "$1" in
  -f) echo 1.0 ;;
  -x) [ ! -e "$REPO/$name/damaged" ] || { echo "dpkg-deb: error: damaged" >&2; exit 2; }
      cp -r "$REPO/$name/." "$3/" ;;
esac
`

let folder: string
let repo: string
let cache: PackageCache
const before = { path: process.env.PATH, repo: process.env.REPO }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-packages-'))
  repo = join(folder, 'repo')
  mkdirSync(join(folder, 'bin'))
  for (const [name, script] of Object.entries({ 'apt-get': aptGet, 'dpkg-deb': dpkgDeb })) {
    writeFileSync(join(folder, 'bin', name), script)
    chmodSync(join(folder, 'bin', name), 0o755)
  }
  addPackage('prose')
  addPackage('verse')
  writeFileSync(join(repo, 'system-lists'), '')
  writeFileSync(join(repo, 'network'), '')
  process.env.PATH = `${join(folder, 'bin')}:/usr/bin:/bin`
  process.env.REPO = repo
  cache = new PackageCache(join(folder, 'cache'))
})

afterEach(() => {
  Object.assign(process.env, { PATH: before.path, REPO: before.repo })
  if (before.repo === undefined) delete process.env.REPO
  rmSync(folder, { recursive: true })
})

function addPackage(name: string): void {
  mkdirSync(join(repo, name), { recursive: true })
  writeFileSync(join(repo, name, 'text'), `text of ${name}`)
}

const mark = (name: string): void => writeFileSync(join(repo, name), '')
const log = (): string => (existsSync(join(repo, 'log')) ? readFileSync(join(repo, 'log'), 'utf8') : '')
const fetch = (...names: string[]): Promise<void> => cache.fetch(names, () => {})
const failure = (...names: string[]): Promise<Error> =>
  fetch(...names).then(
    () => new Error('none'),
    error => error,
  )

describe('PackageCache', () => {
  test('unpacks what is missing and keeps it', async () => {
    const steps: number[] = []
    await cache.fetch(['prose', 'verse'], fraction => steps.push(fraction ?? -1))
    expect(readFileSync(join(cache.filesOf('verse'), 'text'), 'utf8')).toBe('text of verse')
    expect(cache.versionOf('prose')).toBe('1.0')
    expect(steps).toEqual(steps.toSorted())
    expect([steps[0], steps.includes(0.5), steps.every(step => step <= 1)]).toEqual([0, true, true])
    rmSync(join(repo, 'log'))
    await fetch('prose', 'verse')
    expect(log()).toBe('')
  })

  test('leaves nothing but the packages behind', async () => {
    await fetch('prose')
    expect(readdirSync(join(folder, 'cache'))).toEqual(['prose'])
    expect(readdirSync(join(folder, 'cache/prose')).sort()).toEqual(['files', 'version'])
  })

  test('without package lists it fetches its own, once', async () => {
    rmSync(join(repo, 'system-lists'))
    await fetch('prose')
    await fetch('verse')
    expect(log().match(/ update/g)).toHaveLength(1)
    expect(readFileSync(join(cache.filesOf('verse'), 'text'), 'utf8')).toBe('text of verse')
  })

  test('without network the error says why, which package, and what works offline', async () => {
    rmSync(join(repo, 'system-lists'))
    rmSync(join(repo, 'network'))
    const error = await failure('prose')
    expect(error).toBeInstanceOf(DataError)
    expect(error.message).toMatch(
      /^cannot get package prose \(Failed to fetch http:\/\/x Could not resolve 'x'\): .*take the sample/,
    )
    expect(error.message).not.toContain('\n')
  })

  test('a package that does not exist is named', async () => {
    expect((await failure('prose', 'none')).message).toMatch(/Unable to locate package none/)
  })

  test.each([
    ['unreachable', /^cannot get package verse \(Failed to fetch verse\)/],
    ['damaged', /^cannot get package verse \(dpkg-deb: error: damaged\)/],
  ])('a package that is %s leaves no half package, and keeps the others', async (fault, message) => {
    mark(`verse/${fault}`)
    expect((await failure('prose', 'verse')).message).toMatch(message)
    expect(readdirSync(join(folder, 'cache'))).toEqual(['prose'])
  })

  test('a machine without apt-get is told what works there', async () => {
    rmSync(join(folder, 'bin'), { recursive: true })
    process.env.PATH = join(folder, 'bin')
    expect((await failure('prose')).message).toMatch(
      /^apt-get is missing: .* take the sample that ships with Switchyard, or files of your own$/,
    )
  })
})

test('unknown domains are refused with a list of those there are', () => {
  expect(() => debianSource({ domains: ['en', 'klingon'] })).toThrow(
    /^domains: 'klingon' is no domain; there are en \(English essays\), .*code \(Go source code\)/,
  )
  expect(() => debianSource({ domains: ['toString'] })).toThrow(/'toString' is no domain/)
})

test('a domain is read from its packages, with their licences', async () => {
  const page = (text: string): string => `# ${text}\n\n${'Words of an essay, many of them. '.repeat(10)}`
  mkdirSync(join(repo, 'anarchism/usr/share/doc/anarchism/markdown'), { recursive: true })
  writeFileSync(join(repo, 'anarchism/usr/share/doc/anarchism/markdown/secA1.md'), page('Title'))
  writeFileSync(join(repo, 'anarchism/usr/share/doc/anarchism/markdown/secA2.md'), 'too short')
  const source = debianSource({ domains: ['en'], cache: join(folder, 'cache') })
  const documents = []
  for await (const document of source.documents(() => {})) documents.push(document)
  expect(documents.map(({ domain, source: from }) => [domain, from])).toEqual([
    ['en', 'anarchism/usr/share/doc/anarchism/markdown/secA1.md'],
  ])
  expect(source.origins()).toEqual([{ name: 'anarchism', version: '1.0', licence: 'GPL-2' }])
})
