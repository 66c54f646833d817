// How long loading and writing took, and what memory they left.

import type { GenerationTimings } from '../models/index.ts'
import { shortBytes } from './terminal.ts'

/** What `--json` gives of a run's speed. */
export interface Timings {
  loadSeconds: number
  promptTokens: number
  promptTokensPerSecond: number
  newTokens: number
  newTokensPerSecond: number
  /** Resident memory of the process, in bytes. */
  memory: number
}

/** Times `load`, in seconds. */
export async function timed<T>(load: () => Promise<T>): Promise<{ result: T; seconds: number }> {
  const start = performance.now()
  return { result: await load(), seconds: (performance.now() - start) / 1000 }
}

export function timingsOf(loadSeconds: number, generation: GenerationTimings): Timings {
  const { promptTokens, promptSeconds, newTokens, newSeconds } = generation
  const rate = (tokens: number, seconds: number): number => (seconds > 0 ? tokens / seconds : 0)
  return {
    loadSeconds,
    promptTokens,
    promptTokensPerSecond: rate(promptTokens, promptSeconds),
    newTokens,
    newTokensPerSecond: rate(newTokens, newSeconds),
    memory: process.memoryUsage.rss(),
  }
}

/** `loaded in 0.02 s, prompt of 5 tokens at 400 tok/s, 20 new at 80.1 tok/s, 120 MB of memory` */
export function timingsText(timings: Timings): string {
  const { loadSeconds, promptTokens, promptTokensPerSecond, newTokens, newTokensPerSecond, memory } = timings
  return [
    `loaded in ${loadSeconds.toFixed(2)} s`,
    `prompt of ${promptTokens} tokens at ${speed(promptTokensPerSecond)}`,
    `${newTokens} new at ${speed(newTokensPerSecond)}`,
    `${shortBytes(memory)} of memory`,
  ].join(', ')
}

const speed = (tokensPerSecond: number): string =>
  `${tokensPerSecond.toFixed(tokensPerSecond < 100 ? 1 : 0)} tok/s`
