// apt-get as any user may run it: with the machine's lists of packages, or with lists of our own.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DataError } from '../../errors.ts'
import type { SourceProgress } from '../document.ts'
import { CommandError, runCommand } from './run-command.ts'

const options = ['-q', '-oAPT::Sandbox::User=root', '-oAcquire::Retries=2', '-oAcquire::http::Timeout=20']

/** Packages that apt-get knows how to get. */
export class Apt {
  readonly #lists: readonly string[]
  /** Bytes to download per package. */
  readonly sizes = new Map<string, number>()

  /** `lists` are options that say where the lists of packages are; none means the machine's. */
  constructor(lists: readonly string[] = []) {
    this.#lists = lists
  }

  /** Looks the packages up. Throws when one is unknown. */
  async lookUp(names: readonly string[]): Promise<this> {
    const lines = (await this.#run(['download', '--print-uris', ...names], '.')).split('\n')
    for (const name of names) {
      const line = lines.find(line => line.includes(`/${name}_`)) // 'URI' FILE BYTES CHECKSUM
      this.sizes.set(name, Number(line?.split(' ')[2] ?? 0))
    }
    return this
  }

  /** Puts a package's file into a folder. */
  async download(name: string, folder: string): Promise<void> {
    await this.#run(['download', name], folder)
  }

  /** Fetches the lists; an error tells why, even if older ones still serve. */
  async update(): Promise<void> {
    await this.#run(['update', '-oAPT::Update::Error-Mode=any'], '.')
  }

  #run(args: readonly string[], folder: string): Promise<string> {
    return runCommand('apt-get', [...options, ...this.#lists, ...args], folder)
  }
}

/** Takes the machine's lists if they know the packages, else lists of our own below `folder`. */
export async function findPackages(
  names: readonly string[],
  folder: string,
  onProgress: SourceProgress,
): Promise<Apt> {
  const lists = join(folder, 'lists')
  const cache = join(folder, 'cache')
  const own = new Apt([`-oDir::State::Lists=${lists}`, `-oDir::Cache=${cache}`])
  for (const apt of [new Apt(), own]) {
    const found = await apt.lookUp(names).catch(() => undefined)
    if (found) return found
  }
  onProgress(undefined, 'fetching the list of packages')
  mkdirSync(join(lists, 'partial'), { recursive: true })
  mkdirSync(join(cache, 'archives/partial'), { recursive: true })
  const failure: unknown = await own.update().catch((error: unknown) => error)
  return own.lookUp(names).catch((error: unknown) => {
    throw explain(failure ?? error, names)
  })
}

/** Makes one clear line of a failed command. */
export function explain(cause: unknown, names: readonly string[]): unknown {
  if (!(cause instanceof CommandError)) return cause
  if (cause.missing) {
    return new DataError(
      `${cause.message.split(':')[0]} is missing: text from Debian packages needs a Debian system; take the sample that ships with Switchyard, or files of your own`,
      { cause },
    )
  }
  return new DataError(
    `cannot get ${names.length === 1 ? 'package' : 'packages'} ${names.join(', ')} (${cause.message}): check the network, choose other domains, or take the sample, which needs none`,
    { cause },
  )
}
