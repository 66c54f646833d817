// A Mixture-of-Experts layer, trained to fit four different functions at once, each on its own kind of input.
//   run: npx tsx examples/moe-layer.ts

import { GatedExperts, MoeLayer, routingStats, switchBalanceLoss, TopKRouter } from '../src/moe/index.ts'
import { manualSeed, randn, tidy } from '../src/torch/index.ts'
import { AdamW, clipGradients, gradientNorm } from '../src/train/index.ts'

manualSeed(1)
const sizes = { hiddenSize: 16, numExperts: 4 }
const layer = new MoeLayer(
  new TopKRouter({ ...sizes, topK: 1, normalize: false }),
  new GatedExperts({ ...sizes, intermediateSize: 32 }),
)
const all = { name: 'all', parameters: layer.namedParameters(), scale: 1, weightDecay: 0 }
const optimizer = new AdamW([all], { betas: [0.9, 0.95], epsilon: 1e-8 })

// Four clusters of inputs, each with a linear map of its own: a task that splits.
const centres = randn([4, 16]).mul(2)
const maps = randn([4, 16, 16]).div(4)

for (let step = 1; step <= 400; step++) {
  tidy(() => {
    const x = centres.unsqueeze(1).add(randn([4, 64, 16])) // [4, 64, 16]
    const target = x.bmm(maps).view([-1, 16])
    const { y, routing } = layer.forward(x.view([-1, 16]))
    const error = y.sub(target).square().mean()
    layer.zeroGrad()
    error.add(switchBalanceLoss(routing), 0.1).backward()
    const norm = gradientNorm(layer.parameters())
    clipGradients(layer.parameters(), norm, 1)
    optimizer.update(3e-3)
    if (step % 100 === 0) {
      const { load, entropy } = routingStats(routing)
      console.log(
        `step ${step}: error ${error.item().toFixed(3)}, load ${load.join(' ')}, router entropy ${entropy.toFixed(2)}`,
      )
    }
  })
}
