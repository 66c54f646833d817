// Contestants of a benchmark: processes that run a round when asked, so that peer and ours alternate in one run.

import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

/** What a contestant answers after a round. */
export interface Round {
  seconds: number
  /** Most resident memory of the process so far, in bytes. */
  peak: number
  [detail: string]: number
}

export class Contestant {
  readonly name: string
  readonly rounds: Round[] = []
  /** Resident bytes when it was ready, before its first round. */
  baseline = 0
  #command: readonly [string, readonly string[], NodeJS.ProcessEnv]
  #process: {
    child: ChildProcessByStdio<Writable, Readable, null>
    reader: Interface
    lines: AsyncIterator<string>
  } | null = null

  /** A contestant of `benchmarks/contestants`, in TypeScript. */
  static ours(
    name: string,
    file: string,
    args: readonly string[] = [],
    env: NodeJS.ProcessEnv = {},
  ): Contestant {
    const script = fileURLToPath(new URL(`../contestants/${file}`, import.meta.url))
    // Compiled benchmarks (benchmarks/cuda/pack.sh) need no tsx.
    const isCompiled = import.meta.url.endsWith('.js')
    const command = isCompiled ? [script.replace(/\.ts$/, '.js')] : ['--import', 'tsx', script]
    return new Contestant(name, process.execPath, [...command, ...args], env)
  }

  /** A contestant of `benchmarks/peers`, in Python, with threads that wait as ours do: the better way on few cores. */
  static peer(name: string, python: string, file: string, args: readonly string[] = []): Contestant {
    const script = fileURLToPath(new URL(`../peers/${file}`, import.meta.url))
    return new Contestant(name, python, [script, ...args], {
      OMP_WAIT_POLICY: 'passive',
      OPENBLAS_THREAD_TIMEOUT: '16',
    })
  }

  constructor(name: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.name = name
    this.#command = [command, args, env]
  }

  /** Runs in a control group, whose limits hold from the first instruction on. */
  within({ procs }: { procs: string }): this {
    const [command, args, env] = this.#command
    this.#command = ['/bin/sh', ['-c', `echo $$ > ${procs} && exec "$0" "$@"`, command, ...args], env]
    return this
  }

  /** Starts the process and waits until it can run rounds. */
  async ready(): Promise<this> {
    const [command, args, env] = this.#command
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const reader = createInterface({ input: child.stdout })
    this.#process = { child, reader, lines: reader[Symbol.asyncIterator]() }
    const { rss } = JSON.parse(await this.#nextLine()) as { rss: number }
    this.baseline = rss
    return this
  }

  /** Runs `count` iterations and records the round unless it is for warming up. */
  async round(count: number, { warmup = false }: { warmup?: boolean } = {}): Promise<Round> {
    this.#process?.child.stdin.write(`${count}\n`)
    const answer = JSON.parse(await this.#nextLine()) as Round
    const round = { ...answer, seconds: answer.seconds / count }
    if (!warmup) this.rounds.push(round)
    return round
  }

  /** Median seconds of one iteration. */
  get median(): number {
    return median(this.rounds.map(round => round.seconds))
  }

  /** Most memory beyond the baseline. */
  get growth(): number {
    return Math.max(...this.rounds.map(round => round.peak)) - this.baseline
  }

  close(): void {
    this.#process?.reader.close()
    this.#process?.child.kill()
  }

  async #nextLine(): Promise<string> {
    const next = await this.#process?.lines.next()
    if (next === undefined || next.done) {
      const { exitCode, signalCode } = this.#process?.child ?? {}
      throw new Error(`${this.name} ended early (exit code ${exitCode ?? signalCode})`)
    }
    return next.value
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? 0)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** Alternates the contestants: one warm-up round each, then `rounds` rounds of `count` iterations. */
export async function race(
  contestants: readonly Contestant[],
  { rounds = 5, count = 1, warmup = 1 } = {},
): Promise<void> {
  for (const contestant of contestants) await (await contestant.ready()).round(warmup, { warmup: true })
  for (let i = 0; i < rounds; i++) {
    for (const contestant of contestants) await contestant.round(count)
  }
}

/** The first Python that imports torch: $PYTHON, /usr/bin/python3, python3. Undefined when none does. */
export function pythonWithTorch(): string | undefined {
  const candidates = [process.env.PYTHON, '/usr/bin/python3', 'python3']
  return candidates.find(
    python =>
      python !== undefined && spawnSync(python, ['-c', 'import torch'], { timeout: 60_000 }).status === 0,
  )
}

/** For contestants in TypeScript: answers a line of JSON per line read. See peers/protocol.py. */
export async function serve(
  run: (count: number) => Record<string, number> | Promise<Record<string, number>>,
): Promise<void> {
  const write = (answer: object): void => void process.stdout.write(`${JSON.stringify(answer)}\n`)
  write({ ready: true, rss: process.memoryUsage.rss() })
  for await (const line of createInterface({ input: process.stdin })) {
    const start = process.hrtime.bigint()
    const detail = await run(Number(line))
    const seconds = Number(process.hrtime.bigint() - start) / 1e9
    write({ seconds, peak: process.resourceUsage().maxRSS * 1024, ...detail })
    await new Promise(setImmediate)
  }
}
