// One process at a time works in a folder.

import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { ConfigError } from './errors.ts'

const ownerSchema = z.object({
  pid: z.int(),
  host: z.string(),
  /** When the process started, in clock ticks since the boot `boot`: a number that its pid alone does not reuse. */
  started: z.string(),
  boot: z.string(),
})

type Owner = z.infer<typeof ownerSchema>

/** A file that exists while its owner lives; one left behind by a kill is taken over. */
export class FolderLock {
  readonly #file: string

  /**
   * @param name of the file in the folder
   * @param work what its owner does, as in 'is being trained'
   * @throws ConfigError naming the process that works in the folder
   */
  constructor(folder: string, { name, work }: { name: string; work: string }) {
    this.#file = join(folder, name)
    if (this.#create()) return
    const owner = readOwner(this.#file)
    if (owner && isAlive(owner)) {
      const where = owner.host === hostname() ? '' : ` on ${owner.host}`
      throw new ConfigError(`${folder} ${work} by process ${owner.pid}${where}: wait for it or stop it`, {
        path: 'out',
      })
    }
    rmSync(this.#file, { force: true })
    if (!this.#create()) throw new ConfigError(`${folder} was just taken by another process`, { path: 'out' })
  }

  release(): void {
    rmSync(this.#file, { force: true })
  }

  /** Links a file that is written already: nobody ever sees half a lock. */
  #create(): boolean {
    const written = `${this.#file}.${process.pid}`
    const { pid } = process
    const owner: Owner = { pid, host: hostname(), started: startOf(pid) ?? '', boot: bootId() }
    writeFileSync(written, JSON.stringify(owner))
    try {
      linkSync(written, this.#file)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
      throw error
    } finally {
      rmSync(written, { force: true })
    }
  }
}

function readOwner(file: string): Owner | undefined {
  try {
    return ownerSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch {
    return undefined // torn by a crash, or gone
  }
}

/** Of a process on another host nothing can be known: it counts as alive. */
function isAlive({ pid, host, started, boot }: Owner): boolean {
  if (host !== hostname()) return true
  return boot === bootId() && started === startOf(pid)
}

/** Field 22 of /proc/PID/stat; undefined when there is no such process. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] // the name before may hold spaces
  } catch {
    return undefined
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}
