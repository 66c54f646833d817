// Switchyard's training step, for benchmarks/train-step.ts.
//   usage: train-step.ts moe|dense SIZES_JSON [bf16]

import { randint } from '../../src/torch/index.ts'
import { batchOf, lossesSchema } from '../../src/train/objective.ts'
import { AdamW } from '../../src/train/optimizer/adamw.ts'
import { trainStep } from '../../src/train/step.ts'
import { serve } from '../support/contestant.ts'
import { makeModel, type Sizes } from './mixtral.ts'

const kind = process.argv[2] === 'dense' ? 'dense' : 'moe'
const sizes = JSON.parse(process.argv[3] ?? '{}') as Sizes
const model = makeModel(sizes, kind)
const everything = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0.1 }
const optimizer = new AdamW([everything], { betas: [0.9, 0.95], epsilon: 1e-8 })
const ids = randint(0, sizes.vocab, [sizes.batch, sizes.length + 1], { seed: 2 })
const rows = { inputs: ids.narrow(1, 0, sizes.length), targets: ids.narrow(1, 1, sizes.length) }
const batch = batchOf(rows)
const autocast = process.argv[4] === 'bf16' ? 'bf16' : null
const options = { losses: lossesSchema.parse({ z: 0 }), learningRate: 1e-3, clip: 1, autocast } as const

await serve(count => {
  let loss = 0
  for (let i = 0; i < count; i++) {
    const { losses } = trainStep(model, optimizer, [batch], { ...options, observe: i === count - 1 })
    loss = losses?.total ?? 0
  }
  return { loss }
})
