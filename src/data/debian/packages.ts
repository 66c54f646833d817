// Debian packages as folders of files: downloaded and unpacked into a cache, nothing is installed.

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { DataError } from '../../errors.ts'
import type { SourceProgress } from '../document.ts'
import { CommandError, runCommand } from './run-command.ts'

/** Runs apt-get in a folder, with package lists that are known to work. */
type Apt = (args: readonly string[], folder: string) => Promise<string>

const aptOptions = ['-q', '-oAPT::Sandbox::User=root', '-oAcquire::Retries=2', '-oAcquire::http::Timeout=20']

/** Packages unpacked in a cache folder, one folder each. Several processes may share it. */
export class PackageCache {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = resolve(folder)
  }

  /** Where a package was unpacked. */
  filesOf(name: string): string {
    return join(this.#folder, name, 'files')
  }

  versionOf(name: string): string {
    return readFileSync(join(this.#folder, name, 'version'), 'utf8').trim()
  }

  /** Downloads and unpacks those packages that are not there yet. */
  async fetch(names: readonly string[], onProgress: SourceProgress): Promise<void> {
    const missing = names.filter(name => !existsSync(join(this.#folder, name)))
    if (missing.length === 0) return
    mkdirSync(this.#folder, { recursive: true })
    const { apt, sizes } = await this.#findLists(missing, onProgress)
    const total = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0)
    let done = 0
    for (const name of missing) {
      const megabytes = `${Math.ceil(total / 1e6)} MB`
      await this.#fetchOne(name, apt, bytes =>
        onProgress((done + bytes) / total, `downloading ${name} (${megabytes} in all)`),
      )
      done += sizes.get(name) ?? 0
    }
  }

  /** Takes the machine's package lists if they know the packages, else lists of our own, which any user may fetch. */
  async #findLists(names: readonly string[], onProgress: SourceProgress): Promise<PackageLists> {
    const lists = join(this.#folder, '.apt')
    const own = [`-oDir::State::Lists=${join(lists, 'lists')}`, `-oDir::Cache=${join(lists, 'cache')}`]
    const withOptions = (options: readonly string[]): Apt => {
      return (args, folder) => runCommand('apt-get', [...aptOptions, ...options, ...args], folder)
    }
    for (const apt of [withOptions([]), withOptions(own)]) {
      const sizes = await downloadSizes(apt, names).catch(() => undefined)
      if (sizes !== undefined) return { apt, sizes }
    }
    onProgress(undefined, 'fetching the list of packages')
    mkdirSync(join(lists, 'lists/partial'), { recursive: true })
    mkdirSync(join(lists, 'cache/archives/partial'), { recursive: true })
    const apt = withOptions(own)
    const failure = await apt(['update', '-oAPT::Update::Error-Mode=any'], this.#folder).catch(
      (error: unknown) => error,
    )
    try {
      return { apt, sizes: await downloadSizes(apt, names) }
    } catch (cause) {
      throw explain(failure instanceof CommandError ? failure : cause, names)
    }
  }

  /** Works in a folder of its own and moves it into place at the end, so that no package is ever half there. */
  async #fetchOne(name: string, apt: Apt, onBytes: (bytes: number) => void): Promise<void> {
    const work = join(this.#folder, `.${name}-${process.pid}`)
    mkdirSync(join(work, 'files'), { recursive: true })
    const timer = setInterval(() => onBytes(largestFile(work)), 200)
    try {
      onBytes(0)
      await apt(['download', name], work)
      const deb = readdirSync(work).find(file => file.endsWith('.deb'))
      if (deb === undefined) throw new CommandError(`apt-get left no package in ${work}`)
      await runCommand('dpkg-deb', ['-x', deb, 'files'], work)
      writeFileSync(join(work, 'version'), await runCommand('dpkg-deb', ['-f', deb, 'Version'], work))
      rmSync(join(work, deb))
      if (!existsSync(join(this.#folder, name))) renameSync(work, join(this.#folder, name))
    } catch (cause) {
      throw explain(cause, [name])
    } finally {
      clearInterval(timer)
      rmSync(work, { recursive: true, force: true })
    }
  }
}

interface PackageLists {
  apt: Apt
  /** Bytes to download per package. */
  sizes: Map<string, number>
}

/** Asks apt how large the packages are. Throws when it does not know one. */
async function downloadSizes(apt: Apt, names: readonly string[]): Promise<Map<string, number>> {
  const lines = (await apt(['download', '--print-uris', ...names], '.')).split('\n')
  return new Map(
    names.map(name => {
      const line = lines.find(line => line.includes(`/${name}_`)) // 'URI' FILE BYTES CHECKSUM
      return [name, Number(line?.split(' ')[2] ?? 0)]
    }),
  )
}

/** What has arrived of the package that is being downloaded into a folder. */
function largestFile(folder: string): number {
  const sizes = readdirSync(folder).map(
    name => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0,
  )
  return Math.max(0, ...sizes)
}

function explain(cause: unknown, names: readonly string[]): unknown {
  if (!(cause instanceof CommandError)) return cause
  if (cause.missing) {
    return new DataError(
      `${cause.message.split(':')[0]} is missing: text from Debian packages needs a Debian system; use --sample or --from PATH`,
      { cause },
    )
  }
  return new DataError(
    `cannot get ${names.length === 1 ? 'package' : 'packages'} ${names.join(', ')} (${cause.message}): check the network, choose other --domains, or use --sample, which needs none`,
    { cause },
  )
}
