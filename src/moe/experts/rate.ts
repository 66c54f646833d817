// Rates of dropout: of hidden units inside experts, and of whole experts.

import { ConfigError } from '../../errors.ts'

/** @throws ConfigError unless the rate is in [0, 1) */
export function checkRate(rate: number, path: string): number {
  if (rate >= 0 && rate < 1) return rate
  throw new ConfigError(`must be at least 0 and below 1, got ${rate}: it is the share that is dropped`, {
    path,
  })
}
