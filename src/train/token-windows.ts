// A split of a corpus as batches: tokens stay in memory-mapped files until a batch copies its own.

import { type CorpusSplit, WindowMap } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import {
  callOperator,
  type Device,
  type DType,
  empty,
  mapFile,
  stack,
  type Tensor,
  tensor,
  tidy,
} from '../torch/index.ts'

const dtypes: Record<'I16' | 'I32', DType> = { I16: 'i16', I32: 'i32' }

/** A copy of narrow ids that the host does not wait for: from memory not pinned it would first wait for the step before. */
function onDevice(ids: Tensor, device: Device): Tensor {
  if (device === 'cpu') return ids
  const pinned = callOperator('aten::pin_memory', ids) as Tensor
  return empty(ids.shape, { dtype: ids.dtype, device }).copy_(pinned, true)
}

/** Text as rows of one length, i64 [B, T] each. */
export interface TextRows {
  inputs: Tensor
  /** What each input is to predict; -100 where none counts. */
  targets: Tensor
  /** The task of each input, where tasks are told. */
  tasks?: Tensor | null
}

/** A split of a corpus, cut into windows of one length. */
export class TokenWindows {
  readonly split: CorpusSplit
  readonly sequenceLength: number
  readonly #tasks: readonly number[] | null
  readonly #map: WindowMap
  readonly #shards: Tensor[] // [tokens] each

  /** @param tasks of each domain, for batches that name the task of each token (tasksOfDomains()) */
  constructor(split: CorpusSplit, sequenceLength: number, tasks: readonly number[] | null = null) {
    this.split = split
    this.#tasks = tasks
    this.sequenceLength = sequenceLength
    this.#map = new WindowMap(
      split.shards.map(shard => shard.tokens),
      sequenceLength,
    )
    if (this.#map.count === 0) {
      throw new ConfigError(
        `${sequenceLength} exceeds the ${split.tokens} tokens of the ${split.name} split; prepare more text or lower it`,
        { path: 'data.sequenceLength' },
      )
    }
    this.#shards = split.shards.map(({ file, tokens, tokenRange }) => {
      using mapped = mapFile(file)
      return mapped.tensor(tokenRange.offset, [tokens], dtypes[tokenRange.dtype]).persist()
    })
  }

  /** Number of windows. */
  get count(): number {
    return this.#map.count
  }

  /** The inputs and targets, and if there are any the tasks of the inputs, each i64 [B, T], of some windows. */
  batch(windows: readonly number[], device: Device = 'cpu'): TextRows {
    return tidy(() => {
      const rows = windows.map(window => {
        const { shard, offset } = this.#map.locate(window)
        return (this.#shards[shard] as Tensor).narrow(0, offset, this.sequenceLength + 1)
      })
      const tokens = onDevice(stack(rows), device).long() // [B, T + 1]
      return {
        inputs: tokens.narrow(1, 0, this.sequenceLength).contiguous(),
        targets: tokens.narrow(1, 1, this.sequenceLength).contiguous(),
        tasks: this.#tasks && this.#tasksOf(windows, this.#tasks).to(device),
      }
    })
  }

  /** The domain of a window's first token. */
  firstDomain(window: number): number {
    const { shard, offset } = this.#map.locate(window)
    return this.split.shards[shard]?.domainAt(offset) ?? 0
  }

  /** The domain of each target token of some windows: indices, row-major [B * T]. */
  targetDomains(windows: readonly number[]): BigInt64Array {
    return this.#domains(windows, 1)
  }

  /** The same of each input token. */
  inputDomains(windows: readonly number[]): BigInt64Array {
    return this.#domains(windows, 0)
  }

  #tasksOf(windows: readonly number[], tasks: readonly number[]): Tensor {
    const inputs = this.inputDomains(windows).map(domain => BigInt(tasks[Number(domain)] ?? 0))
    return tensor(inputs, { shape: [windows.length, this.sequenceLength] })
  }

  /** Domains of the tokens `shift` places after each input. */
  #domains(windows: readonly number[], shift: number): BigInt64Array {
    const domains = new BigInt64Array(windows.length * this.sequenceLength)
    for (const [row, window] of windows.entries()) {
      const { shard, offset } = this.#map.locate(window)
      const source = this.split.shards[shard]
      for (let t = 0; source && t < this.sequenceLength; t++) {
        domains[row * this.sequenceLength + t] = BigInt(source.domainAt(offset + shift + t))
      }
    }
    return domains
  }

  /** How often each of `size` ids occurs in the split. */
  frequencies(size: number): number[] {
    return tidy(() => {
      const counts = this.#shards.map(shard => shard.long().bincount(null, size))
      const total = counts.reduce((sum, count) => sum.add(count))
      return Array.from(total.toTypedArray<'i64'>(), Number)
    })
  }

  dispose(): void {
    for (const shard of this.#shards) shard.dispose()
  }
}
