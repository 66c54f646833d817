// Control groups that limit memory, the page cache of their files included. For root, where the kernel has them (version 1).

import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = '/sys/fs/cgroup/memory'

/** Whether such groups can be made here. */
export const canLimitMemory = process.getuid?.() === 0 && existsSync(join(root, 'memory.limit_in_bytes'))

export class MemoryGroup implements Disposable {
  readonly #path: string

  constructor(name: string, bytes: number) {
    this.#path = join(root, `switchyard-${process.pid}-${name}`)
    mkdirSync(this.#path, { recursive: true })
    writeFileSync(join(this.#path, 'memory.limit_in_bytes'), String(bytes))
  }

  /** The file that a process writes its number to. */
  get procs(): string {
    return join(this.#path, 'cgroup.procs')
  }

  /** Bytes that the group had at most, caches included. */
  get peak(): number {
    return Number(readFileSync(join(this.#path, 'memory.max_usage_in_bytes'), 'utf8'))
  }

  /** Once its processes have ended. */
  [Symbol.dispose](): void {
    try {
      rmdirSync(this.#path)
    } catch {
      // A process is still ending: the kernel keeps an empty group, which costs nothing.
    }
  }
}
