// Switchyard's training step on CUDA.
//   usage: cuda-step.ts JSON: { kind, fields, batch, length, precision, recompute, graph }

import { randint } from '../../src/torch/index.ts'
import { GraphedStep } from '../../src/train/graphed-step.ts'
import { batchOf, lossesSchema } from '../../src/train/objective.ts'
import { AdamW } from '../../src/train/optimizer/adamw.ts'
import { autocastType, convertWeights, halfOptions, precisionSchema } from '../../src/train/precision.ts'
import { type StepResult, trainStep } from '../../src/train/step.ts'
import { serve } from '../support/contestant.ts'
import { device } from '../support/cuda.ts'
import { finish, peakBytes } from '../support/device.ts'
import { makeModel } from './cuda-model.ts'

const { kind, fields, batch, length, ...rest } = JSON.parse(process.argv[2] ?? '{}')
const at = device as 'cuda'
const precision = precisionSchema.parse(rest.precision)
const model = makeModel(kind, fields, at)
convertWeights(model, precision, at)
const everything = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0.1 }
const optimizer = new AdamW([everything], { betas: [0.9, 0.95], epsilon: 1e-8, ...halfOptions(precision) })
const ids = randint(0, fields.vocab_size, [batch, length + 1], { seed: 2 }).to(at)
const data = batchOf({
  inputs: ids.narrow(1, 0, length).contiguous(),
  targets: ids.narrow(1, 1, length).contiguous(),
})
// HF's auxiliary loss at its coefficient, and no other.
const losses = lossesSchema.parse({ balance: { kind: 'mixtral-hf', coefficient: 0.001 }, z: 0 })
const options = { losses, learningRate: 1e-4, clip: 1, autocast: autocastType(precision, at) }

model.model.recompute = rest.recompute ? 'layers' : 'none'
const step = (observe: boolean): StepResult => trainStep(model, optimizer, [data], { ...options, observe })
const graph = rest.graph ? new GraphedStep(model, optimizer, [data], { ...options, observe: false }) : null

await serve(count => {
  let loss = 0
  for (let i = 0; i < count; i++) {
    const observe = i === count - 1
    const result = graph?.run([data], { ...options, observe }) ?? step(observe)
    loss = result.losses?.total ?? 0
  }
  finish()
  return { loss, devicePeak: peakBytes() }
})
