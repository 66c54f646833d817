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
import type { SourceProgress } from '../document.ts'
import { type Apt, explain, findPackages } from './apt.ts'
import { CommandError, runCommand } from './run-command.ts'

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
    const apt = await findPackages(missing, join(this.#folder, '.apt'), onProgress)
    const total = [...apt.sizes.values()].reduce((sum, bytes) => sum + bytes, 0)
    let done = 0
    for (const name of missing) {
      const size = apt.sizes.get(name) ?? 0
      const text = `downloading ${name} (${Math.ceil(total / 1e6)} MB in all)`
      await this.#fetchOne(name, apt, bytes => onProgress((done + Math.min(bytes, size)) / total, text))
      done += size
    }
  }

  /** Works in a folder of its own and moves it into place at the end, so that no package is ever half there. */
  async #fetchOne(name: string, apt: Apt, onBytes: (bytes: number) => void): Promise<void> {
    const work = join(this.#folder, `.${name}-${process.pid}`)
    mkdirSync(join(work, 'files'), { recursive: true })
    const timer = setInterval(() => onBytes(arrivedBytes(work)), 200)
    try {
      onBytes(0)
      await apt.download(name, work)
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

/** What has arrived of the package that is being downloaded into a folder. */
function arrivedBytes(folder: string): number {
  const deb = readdirSync(folder).find(file => file.includes('.deb'))
  return deb === undefined ? 0 : (statSync(join(folder, deb), { throwIfNoEntry: false })?.size ?? 0)
}
