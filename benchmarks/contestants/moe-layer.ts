// Forward and backward of one MoE layer, for benchmarks/moe-layer.ts.
//   usage: moe-layer.ts CONFIG_JSON

import { GatedExperts, MoeLayer, TopKRouter } from '../../src/moe/index.ts'
import {
  autocast,
  kernelNames,
  memoryUse,
  noGrad,
  randn,
  resetPeakMemory,
  tidy,
  withKernels,
} from '../../src/torch/index.ts'
import { serve } from '../support/contestant.ts'

const config = JSON.parse(process.argv[2] ?? '{}')
const { tokens, hidden, width, experts, topK, skewed = 0, forward = null, reference = false } = config
const isHalf = config.dtype === 'bf16'
const sizes = { hiddenSize: hidden, numExperts: experts }
const layer = new MoeLayer(
  new TopKRouter({ ...sizes, topK }),
  new GatedExperts({ ...sizes, intermediateSize: width }),
)
const x = randn([tokens, hidden], { seed: 1 })
noGrad(() => {
  // The first feature sends a share of the tokens to expert 0, and decides nothing for the others.
  x.select(1, 0)
    .zero_()
    .narrow(0, 0, Math.round(tokens * skewed))
    .fill_(100)
  layer.gate.weight.select(1, 0).zero_().narrow(0, 0, 1).fill_(1)
})
x.requiresGrad_()
const dY = randn([tokens, hidden], { seed: 2 })

// Rows that lie sorted by expert already, as many for each: the experts without routing, dispatch and combine.
const rows = randn([tokens * topK, hidden], { seed: 3 })
const counts = new Array<number>(experts).fill((tokens * topK) / experts)
const forwards: Record<string, () => unknown> = {
  layer: () => layer.forward(x),
  router: () => layer.gate.forward(x),
  experts: () => layer.experts.grouped(rows, counts),
}
const step = (): void => {
  if (forward) noGrad(() => tidy(() => void forwards[forward]?.()))
  else
    tidy(() => (isHalf ? autocast('cpu', 'bf16', () => layer.forward(x)) : layer.forward(x)).y.backward(dY))
}

await serve(count => {
  resetPeakMemory()
  const before = memoryUse().bytes
  withKernels(reference ? [] : kernelNames, () => {
    for (let i = 0; i < count; i++) {
      step()
      layer.zeroGrad()
      x.grad = null
    }
  })
  return { temporaries: memoryUse().peakBytes - before }
})
