// Results of a benchmark: a table on the terminal and a dated file with the machine.

import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, freemem, totalmem } from 'node:os'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
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

/** Where results go: beside the build, or with BENCH_KEEP among the recorded ones. */
const folder = new URL(process.env.BENCH_KEEP ? '../results/' : '../../build/benchmarks/', import.meta.url)

/** Today's file of a benchmark's results. */
export function resultFile(name: string, extension: string): URL {
  mkdirSync(folder, { recursive: true })
  return new URL(`${new Date().toISOString().slice(0, 10)}-${name}.${extension}`, folder)
}

/** Prints a result and writes all of it to a file. */
export function report(result: Result): void {
  console.log(`\n${result.name}\n${table(result.rows)}`)
  for (const note of result.notes) console.log(note)
  const date = new Date().toISOString().slice(0, 10)
  const content = { ...result, date, machine: machine() }
  const file = resultFile(result.name, 'json')
  writeFileSync(file, `${JSON.stringify(content, null, 1)}\n`)
  console.log(`all rounds: ${relative(process.cwd(), fileURLToPath(file))}`)
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
