// Forward and backward of each part of a training step alone, for benchmarks/step-parts.ts.
//   usage: step-parts.ts SIZES_JSON   (SWITCHYARD_KERNELS=none for the reference paths)

import { headLoss } from '../../src/models/index.ts'
import { plainFrequencies, rotation } from '../../src/nn/index.ts'
import { arange, randint, randn, type Tensor, tidy } from '../../src/torch/index.ts'
import { batchOf, lossesSchema } from '../../src/train/objective.ts'
import { AdamW } from '../../src/train/optimizer/adamw.ts'
import { gradientNorm } from '../../src/train/optimizer/clip.ts'
import { trainStep } from '../../src/train/step.ts'
import { serve } from '../support/contestant.ts'
import { makeModel, type Sizes } from './mixtral.ts'

const sizes = JSON.parse(process.argv[2] ?? '{}') as Sizes
const model = makeModel(sizes)
const everything = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0.1 }
const optimizer = new AdamW([everything], { betas: [0.9, 0.95], epsilon: 1e-8 })
const { batch, length, hidden } = sizes
const ids = randint(0, sizes.vocab, [batch, length + 1], { seed: 2 })
const { inputs, targets } = batchOf({ inputs: ids.narrow(1, 0, length), targets: ids.narrow(1, 1, length) })
const x = randn([batch * length, hidden], { seed: 3, requiresGrad: true })
const dY = randn([batch * length, hidden], { seed: 4 })
const attention = {
  rotation: rotation(arange(0, length), plainFrequencies(hidden / sizes.heads, 10_000)),
  starts: inputs.starts,
  isCausal: true,
  window: null,
}

const parts: Record<string, () => void> = {
  attention: () => {
    for (const { self_attn } of model.model.layers) back(() => self_attn.forward(x, attention))
  },
  'MoE layers': () => {
    for (const { mlp } of model.model.layers) {
      back(() => {
        const output = mlp.forward(x)
        return 'y' in output ? output.y : output
      })
    }
  },
  norms: () => {
    for (const { input_layernorm, post_attention_layernorm } of model.model.layers) {
      for (const norm of [input_layernorm, post_attention_layernorm]) back(() => norm.forward(x))
    }
    back(() => model.model.norm.forward(x))
  },
  'head and loss': () => {
    tidy(() => headLoss(x, model.lm_head?.weight ?? x, targets).backward())
  },
  embedding: () => back(() => model.model.embed_tokens.forward(inputs.ids)),
  'whole step': () => {
    const options = { losses: lossesSchema.parse({ z: 0 }), learningRate: 1e-3, clip: 1 }
    trainStep(model, optimizer, [{ inputs, targets }], { ...options, observe: false })
  },
  // Right after a step, whose gradients are still there.
  'clip and AdamW': () => {
    gradientNorm(model.parameters())
    optimizer.update(1e-3, { lossScale: 2 })
  },
}

function back(forward: () => Tensor): void {
  tidy(() => forward().backward(dY))
}

function time(run: () => void): number {
  const start = performance.now()
  run()
  return (performance.now() - start) / 1e3
}

/** Seconds of each part, in the order of `parts`. */
await serve(count => {
  const seconds: Record<string, number> = {}
  for (let i = 0; i < count; i++) {
    for (const [name, run] of Object.entries(parts)) {
      if (name !== 'clip and AdamW') model.zeroGrad() // as a step finds them
      x.grad = null
      seconds[name] = (seconds[name] ?? 0) + time(run) / count
    }
  }
  return seconds
})
