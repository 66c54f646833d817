// Files whose description promises more than they hold.

import { FormatError } from '../../errors.ts'
import type { Declarations } from '../architectures/architecture.ts'

/**
 * Throws FormatError when a config promises far more tensors than there are, before a list of them all is made: each
 * stacked parameter may stand for as many as it has experts. A few bytes would ask for gigabytes otherwise.
 *
 * @param described where the config is, for the error
 */
export function refuseTooMany(
  declarations: Declarations,
  found: number,
  described: string,
  file: string,
): void {
  let promised = 0
  for (const { stacked, shape } of declarations.values()) promised += stacked ? (shape[0] ?? 1) : 1
  if (promised <= 100_000 + 10 * found) return
  const problem = `tensors do not fit ${described}: it promises about ${promised}, there are ${found}`
  throw new FormatError(problem, { file })
}
