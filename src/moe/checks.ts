// Checks of settings that several structures take.

import { ConfigError } from '../errors.ts'

/** @throws ConfigError unless the rate is in [0, 1) */
export function checkRate(rate: number, path: string): number {
  if (rate >= 0 && rate < 1) return rate
  throw new ConfigError(`must be at least 0 and below 1, got ${rate}: it is the share that is dropped`, {
    path,
  })
}

/** @throws ConfigError unless `value` is a whole number of at least `least` */
export function checkWhole(value: number, least: number, path: string): void {
  if (Number.isInteger(value) && value >= least) return
  throw new ConfigError(`must be a whole number from ${least} on, got ${value}`, { path })
}
