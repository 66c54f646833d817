// A device that takes its time, for tests of what waits for it.
import { type CopyMark, type CopyQueue, empty, type Tensor } from '../../src/torch/index.ts'

/** A queue whose copies are made when somebody waits for them, or when told to: a slow device. */
export class SlowQueue implements CopyQueue {
  #pending: { to: Tensor; from: Tensor; number: number }[] = []
  #started = 0
  finished = 0

  staging = (shape: readonly number[], dtype: Tensor['dtype']): Tensor => empty(shape, { dtype })
  target = (shape: readonly number[], dtype: Tensor['dtype']): Tensor => empty(shape, { dtype })

  copy(to: Tensor, from: Tensor): void {
    // As the device: it reads the staging buffer later, whatever is in it then.
    const mine = (tensor: Tensor): Tensor => tensor.narrow(0, 0, tensor.numel).persist()
    this.#pending.push({ to: mine(to), from: mine(from), number: ++this.#started })
  }

  /** Makes the copies up to a number. */
  advance(until: number): void {
    for (let next = this.#pending[0]; next && next.number <= until; next = this.#pending[0]) {
      next.to.copy_(next.from)
      next.to.dispose()
      next.from.dispose()
      this.finished = next.number
      this.#pending.shift()
    }
  }

  /** What copies were told to wait for. */
  readonly followed: CopyMark[] = []

  /** The host computes: what it was told to is done. */
  computed(): CopyMark {
    return { isDone: true, wait: () => undefined, block: () => undefined }
  }

  follow(computed: CopyMark): void {
    this.followed.push(computed)
  }

  mark(): CopyMark {
    const [queue, number] = [this, this.#started]
    const finish = (): void => this.advance(number)
    return {
      get isDone() {
        return queue.finished >= number
      },
      wait: finish,
      block: finish,
    }
  }
}
