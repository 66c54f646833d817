// Results of a benchmark: a table on the terminal and a dated file with the machine.

import { writeFileSync } from 'node:fs'
import { cpus, freemem, totalmem } from 'node:os'
import { table } from '../../src/cli/terminal.ts'
import { runtimeInfo } from '../../src/torch/index.ts'

export interface Result {
  /** Name of the benchmark. */
  name: string
  /** What was measured, in full. */
  setting: Record<string, unknown>
  /** Heading and rows. */
  rows: string[][]
  /** Conclusions: what the rows mean, and whether the aim was reached. */
  notes: string[]
  /** All rounds of all contestants. */
  data: Record<string, unknown>
}

/** Prints a result and keeps it under benchmarks/results. */
export function report(result: Result): void {
  console.log(`\n${result.name}\n${table(result.rows)}`)
  for (const note of result.notes) console.log(note)
  const date = new Date().toISOString().slice(0, 10)
  const content = { ...result, date, machine: machine() }
  const file = new URL(`../results/${date}-${result.name}.json`, import.meta.url)
  writeFileSync(file, `${JSON.stringify(content, null, 1)}\n`)
}

function machine(): Record<string, unknown> {
  const { version, blas } = runtimeInfo()
  return {
    processor: cpus()[0]?.model,
    cores: cpus().length,
    memory: totalmem(),
    free: freemem(),
    node: process.version,
    libtorch: version,
    blas,
  }
}
