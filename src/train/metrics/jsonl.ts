// metrics.jsonl: one JSON object per line, in the order of steps.

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { writeDurably } from '../../files.ts'

/** Numbers that JSON has no form for are written as null. */
export class MetricsFile {
  readonly file: string
  readonly #descriptor: number

  /**
   * Opens the file to append.
   *
   * @param lastStep when resuming, lines of later steps are removed: they will be written again
   */
  constructor(file: string, lastStep?: number) {
    this.file = file
    if (lastStep !== undefined && existsSync(file)) keepUntil(file, lastStep)
    this.#descriptor = openSync(file, 'a')
  }

  write(line: { step: number } & Record<string, unknown>): void {
    writeSync(this.#descriptor, `${JSON.stringify(line)}\n`)
  }

  flush(): void {
    fsyncSync(this.#descriptor)
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}

/** Drops lines after a step, and a line that a kill cut short. */
function keepUntil(file: string, lastStep: number): void {
  const kept = readFileSync(file, 'utf8')
    .split('\n')
    .filter(line => {
      try {
        return (JSON.parse(line) as { step: number }).step <= lastStep
      } catch {
        return false
      }
    })
  writeDurably(file, kept.map(line => `${line}\n`).join(''))
}
