// What a model reads: the new tokens of one or several sequences, one sequence after the other, and where they are.
// Shapes: B sequences, T tokens of one, N tokens in all.

import { ConfigError } from '../../errors.ts'
import { arange, type Device, noGrad, type Tensor, tensor, tidy } from '../../torch/index.ts'

export interface Tokens {
  /** i64 [N] */
  ids: Tensor
  /** Sequence b is the tokens `starts[b] .. starts[b + 1] - 1`: B + 1 numbers, 0 first and N last. */
  starts: readonly number[]
  /** i64 [N]: where each token is in its text; or [T] where all sequences are T long and at the same positions. */
  positions: Tensor
  /** One more than the last position, as far as the host knows: rules for long texts go by it. */
  extent: number
  /** i64 [N]: the task of each token, for routers that go by it. Default: none. */
  tasks?: Tensor | null
  /** i64 [N]: most experts of each token. Default: as many as routers choose. */
  mostExperts?: Tensor | null
}

/** Texts of equal length from their first token on: ids i64 [B, T], tasks the same. */
export function tokensOf(ids: Tensor, { tasks = null }: { tasks?: Tensor | null } = {}): Tokens {
  const [sequences, length] = ids.shape as [number, number]
  if (ids.ndim !== 2)
    throw new ConfigError(`must be [sequences, length], got ${ids.describe()}`, { path: 'ids' })
  return noGrad(() => ({
    ids: ids.reshape([-1]),
    starts: Array.from({ length: sequences + 1 }, (_, b) => b * length),
    positions: arange(0, length, 1, { device: ids.device }),
    extent: length,
    tasks: tasks?.reshape([-1]) ?? null,
  }))
}

export interface SequenceOptions {
  /** Tokens that each sequence had before. Default: none. */
  past?: readonly number[]
  device?: Device
  /** The task of all tokens. Default: none. */
  task?: number | undefined
  /** Most experts of each token. Default: as many as routers choose. */
  mostExperts?: readonly number[] | undefined
}

/** New tokens of sequences of any lengths. */
export function tokensOfSequences(
  rows: readonly (readonly number[])[],
  { past = [], device = 'cpu', task, mostExperts }: SequenceOptions = {},
): Tokens {
  const starts = [0]
  for (const ids of rows) starts.push((starts.at(-1) as number) + ids.length)
  const positions = rows.flatMap((ids, b) => ids.map((_, i) => (past[b] ?? 0) + i))
  const integers = (values: readonly number[]): Tensor =>
    tidy(() => tensor(Int32Array.from(values)).long().to(device))
  return {
    ids: integers(rows.flat()),
    starts,
    positions: integers(positions),
    extent: positions.reduce((most, position) => Math.max(most, position + 1), 0),
    tasks: task === undefined ? null : integers(positions.map(() => task)),
    mostExperts: mostExperts === undefined ? null : integers(mostExperts),
  }
}

/** i64 [N]: positions written out where sequences share them. */
export function everyPosition({ ids, positions }: Tokens): Tensor {
  const repeats = ids.size(0) / Math.max(1, positions.size(0))
  return repeats === 1 ? positions : positions.repeat([repeats])
}

/** Of which tokens logits are wanted: of all, of the last one of each sequence, which then has one, or of those with these numbers. */
export type LogitsAt = 'all' | 'last' | readonly number[]

/** The rows of x [N, D] that logits are wanted of: [N, D], [B, D] or as many as were named. */
export function rowsAt(x: Tensor, { starts }: Pick<Tokens, 'starts'>, at: LogitsAt): Tensor {
  const count = x.size(0)
  const numbers = at === 'last' ? starts.slice(1).map(end => end - 1) : at
  if (numbers === 'all' || (numbers.length === count && numbers.every((row, i) => row === i))) return x
  if (numbers.length === 1) return x.narrow(0, numbers[0] as number, 1)
  return x.indexSelect(0, tensor(Int32Array.from(numbers)).long().to(x.device))
}
