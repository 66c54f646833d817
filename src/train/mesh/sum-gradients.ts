// Gradients added up over ranks in messages of some size: one for each parameter would cost a round trip each.

import type { Parameter } from '../../nn/index.ts'
import { itemSize, noGrad, type ProcessGroup, type Tensor, tidy } from '../../torch/index.ts'

/** Bytes of a message at most, unless one gradient is larger: PyTorch's DistributedDataParallel has as many. */
const bucketBytes = 25 * 2 ** 20

/** Writes the sums over a group into the gradients. Messages are under way while others are put together. */
export function sumGradients(parameters: readonly Parameter[], group: ProcessGroup): void {
  if (group.isAlone) return
  noGrad(() =>
    tidy(() => {
      const gradients = parameters.flatMap(({ grad }) => grad ?? [])
      const messages = [...bucketsOf(gradients)].map(bucket => group.startSum(bucket))
      for (const message of messages) message.finish()
    }),
  )
}

/** Neighbours of one type, together below the size of a message. */
function* bucketsOf(gradients: readonly Tensor[]): Generator<Tensor[]> {
  let bucket: Tensor[] = []
  let bytes = 0
  for (const gradient of gradients) {
    const size = gradient.numel * itemSize[gradient.dtype]
    const fits = bytes + size <= bucketBytes && bucket[0]?.dtype === gradient.dtype
    if (bucket.length > 0 && !fits) {
      yield bucket
      bucket = []
      bytes = 0
    }
    bucket.push(gradient)
    bytes += size
  }
  if (bucket.length > 0) yield bucket
}
