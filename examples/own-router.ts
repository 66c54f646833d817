// A router of one's own beside top-k: it takes a second expert only for tokens whose first one is not clearly best.
//   run: npx tsx examples/own-router.ts [--steps 400]

import { parseArgs } from 'node:util'
import {
  AdamW,
  GatedExperts,
  Linear,
  Module,
  MoeLayer,
  manualSeed,
  noGrad,
  type Router,
  randn,
  routingStats,
  switchBalanceLoss,
  type Tensor,
  type TokenContext,
  type TokenRouting,
  TopKRouter,
  tidy,
} from 'switchyard'
import { withoutPadding } from 'switchyard/moe'

const { values } = parseArgs({ options: { steps: { type: 'string', default: '400' } } })
const sizes = { hiddenSize: 16, numExperts: 4 }

/** The two likeliest experts, but the second only if it is at least `share` as likely as the first. */
class MarginRouter extends Module implements Router {
  readonly gate = new Linear(sizes.hiddenSize, sizes.numExperts, { bias: false, role: 'router' })
  readonly numExperts = sizes.numExperts
  readonly active = 2
  readonly isCausal = true
  readonly share: number

  constructor(share: number) {
    super()
    this.share = share
  }

  /** x [T, D] */
  forward(x: Tensor, { mask = null }: TokenContext = {}): TokenRouting {
    const logits = this.gate.forward(x) // [T, E]
    const probs = logits.softmax(-1)
    const [best, indices] = probs.topk(2) // [T, 2] each
    const isWeak = best.lt(best.narrow(-1, 0, 1).mul(this.share)) // never the first
    // An empty slot is expert -1 with weight 0; the weights carry the gradient.
    const slots = { indices: indices.maskedFill(isWeak, -1), weights: best.maskedFill(isWeak, 0) }
    return withoutPadding({ kind: 'token', ...slots, logits, probs, mask })
  }
}

// Four clusters of inputs, each with a linear map of its own.
manualSeed(3)
const centres = randn([4, 1, 16]).mul(2)
const maps = randn([4, 16, 16]).div(4)

function train<R extends Module & Router>(router: R): void {
  const layer = new MoeLayer(router, new GatedExperts({ ...sizes, intermediateSize: 32 }))
  const optimizer = new AdamW(layer.parameters(), { learningRate: 3e-3 })
  const forward = () => {
    const x = centres.add(randn([4, 64, 16]))
    const { y, routing } = layer.forward(x)
    return { error: y.sub(x.bmm(maps)).square().mean(), routing }
  }
  for (let step = 0; step < Number(values.steps); step++)
    tidy(() => {
      const { error, routing } = forward()
      layer.zeroGrad()
      error.add(switchBalanceLoss(routing), 0.1).backward()
      optimizer.update()
    })
  layer.eval()
  noGrad(() =>
    tidy(() => {
      const { error, routing } = forward()
      const { load, maxOverMean, entropy } = routingStats(routing)
      const perToken = load.reduce((sum, count) => sum + count) / 256
      const numbers = { error: error.item(), perToken, maxOverMean, entropy }
      const shown = Object.entries(numbers).map(([name, value]) => `${name} ${value.toFixed(3)}`)
      console.log(`${router.constructor.name}: ${shown.join(', ')}, load ${load}`)
    }),
  )
}

train(new TopKRouter({ ...sizes, topK: 2, normalize: false }))
train(new MarginRouter(0.5))
