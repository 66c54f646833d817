// A layer of four experts learns four different linear maps, one for each cluster of inputs.
//   run: npx tsx examples/moe-layer.ts

import {
  AdamW,
  GatedExperts,
  MoeLayer,
  manualSeed,
  randn,
  routingStats,
  switchBalanceLoss,
  TopKRouter,
  tidy,
} from 'switchyard'

manualSeed(3)
const sizes = { hiddenSize: 16, numExperts: 4 }
const router = new TopKRouter({ ...sizes, topK: 1, normalize: false }) // weighs by softmax, so that it learns
const layer = new MoeLayer(router, new GatedExperts({ ...sizes, intermediateSize: 32 }))
const optimizer = new AdamW(layer.parameters(), { learningRate: 3e-3 })
const [centres, maps] = [randn([4, 1, 16]).mul(2), randn([4, 16, 16]).div(4)]

for (let step = 0; step <= 400; step++) {
  // tidy() frees every tensor that was made inside.
  tidy(() => {
    const x = centres.add(randn([4, 64, 16]))
    const { y, routing } = layer.forward(x)
    const error = y.sub(x.bmm(maps)).square().mean()
    layer.zeroGrad()
    error.add(switchBalanceLoss(routing)).backward()
    optimizer.update()
    if (step % 100 === 0) console.log(error.item(), routingStats(routing).load)
  })
}
