// The card's best: a large bf16 product on random data, and a large copy on the device.

import { emptyLike, noGrad, randn, tidy } from '../../src/torch/index.ts'
import { serve } from '../support/contestant.ts'
import { device, isTiny } from '../support/cuda.ts'
import { finish } from '../support/device.ts'

const size = isTiny ? 256 : 8192
const [a, b] = [1, 2].map(seed =>
  randn([size, size], { seed })
    .to(device as 'cuda')
    .to('bf16'),
)
const from = randn([isTiny ? 1 << 16 : 1 << 30], { seed: 3, device: device as 'cuda' }) // 4 GB
const to = emptyLike(from)

function secondsOf(count: number, body: () => void): number {
  finish()
  const start = performance.now()
  for (let i = 0; i < count; i++) tidy(body)
  finish()
  return (performance.now() - start) / 1e3 / count
}

await serve(count =>
  noGrad(() => ({
    flops: (2 * size ** 3) / secondsOf(count, () => void a?.matmul(b as NonNullable<typeof b>)),
    bytes: (2 * 4 * from.numel) / secondsOf(count, () => void to.copy_(from, true)),
  })),
)
