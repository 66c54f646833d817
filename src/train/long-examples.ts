// What becomes of examples that are longer than there is room for.

import { ConfigError } from '../errors.ts'

export type LongExamples = 'cut' | 'drop' | 'refuse'

/**
 * Refuses examples whose lengths are more than `data.sequenceLength`.
 *
 * @param what is too long, as `examples are`
 * @param all number of examples
 * @throws ConfigError where there are any
 */
export function refuseLong(
  what: string,
  lengths: readonly number[],
  { all, sequenceLength }: { all: number; sequenceLength: number },
): void {
  if (lengths.length === 0) return
  throw new ConfigError(
    `${lengths.length} of ${all} ${what} longer than data.sequenceLength, ${sequenceLength} ` +
      `(the longest ${lengths.reduce((most, length) => Math.max(most, length))}): set that higher, or this to cut or drop`,
    { path: 'data.long' },
  )
}
