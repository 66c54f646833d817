// The process among others, as libtorch's c10d has it: a store of texts that all reach, and signs of life.

import { callOperator, hasOperator } from '../runtime.ts'

/** Where a world meets. */
export interface Meeting {
  host: string
  port: number
  /** Whether this process keeps the store. */
  serves: boolean
  /** Of all keys: a world that begins again finds none of the last. */
  prefix: string
  /** How long to look for the store, in milliseconds. */
  timeout: number
}

const call = (name: string, ...args: unknown[]): unknown => callOperator(`switchyard::${name}`, ...args)

/** Whether the addon was built with Gloo. */
export const hasDistributed = (): boolean => hasOperator('switchyard::join_world')

/** Reaches the store, and keeps it where it is asked to. A process is in one world at a time. */
export function joinWorld({ host, port, serves, prefix, timeout }: Meeting): void {
  call('join_world', host, port, serves, prefix, timeout)
}

/** Leaves the world, when what is under way has ended. */
export function leaveWorld(): void {
  call('leave_world')
}

/** Ends the connections to other ranks, who hear of it at once where they wait; the store stays. */
export function hangUp(): void {
  call('hang_up')
}

/** Ends the process at once, and waits for nothing that hangs. */
export function exitNow(code: number): void {
  call('exit_now', code)
}

/** The store: texts by key, for all ranks. */
export const worldStore = {
  set: (key: string, value: string): void => void call('store_set', key, value),
  has: (key: string): boolean => call('store_has', key) as boolean,
  /** Waits until somebody has set the key, for so many milliseconds at most: TorchError then. */
  get: (key: string, timeout: number): string => call('store_get', key, timeout) as string,
  /** Sets a key that nobody has set; returns what it is. */
  claim: (key: string, value: string): string => call('store_claim', key, value) as string,
}

/** Writes `count|progress|what is waited for` under a key every so many milliseconds, as long as the process lives. */
export function startBeats(key: string, interval: number): void {
  call('start_beats', key, interval)
}

/** What beats say of progress from now on. */
export function noteProgress(progress: string): void {
  call('note_progress', progress)
}

/** What this process sent so far. */
export interface Traffic {
  calls: number
  /** By the formula of each: a ring of n sends 2 (n - 1) / n of what is added up, (n - 1) / n of what is gathered. */
  bytes: number
}

/** Traffic by kind: `sum`, `bucket` (sums sent together, as gradients), `all-to-all`, `all-gather`, `broadcast`, `send`. */
export function traffic(): Map<string, Traffic> {
  const lines = (call('traffic') as string).split('\n').filter(line => line !== '')
  return new Map(
    lines.map(line => {
      const [, what = '', calls, bytes] = /^(\S+) (\d+) (\d+)$/.exec(line) ?? []
      return [what, { calls: Number(calls), bytes: Number(bytes) }]
    }),
  )
}
