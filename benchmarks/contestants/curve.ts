// A small Mixtral on the bytes of samples/: the loss of each step, and what is left in memory afterwards. Autocast is taken at
// its word, also where it is slow.
//   usage: curve.ts JSON: { precision, seed, device, size: { batch, length, hidden, width, layers } }

import { readdirSync, readFileSync } from 'node:fs'
import { memoryUse, randint, stack, tensor, tidy } from '../../src/torch/index.ts'
import { batchOf, lossesSchema } from '../../src/train/objective.ts'
import { AdamW } from '../../src/train/optimizer/adamw.ts'
import { convertWeights, halfOptions, lossScalerFor, precisionSchema } from '../../src/train/precision.ts'
import { trainStep } from '../../src/train/step.ts'
import { serve } from '../support/contestant.ts'
import { allocatedBytes, finish } from '../support/device.ts'
import { makeModel } from './cuda-model.ts'

const { precision: wanted, seed, device: at, size } = JSON.parse(process.argv[2] ?? '{}')
const precision = precisionSchema.parse(wanted)
const { batch, length } = size
const fields = {
  vocab_size: 256,
  hidden_size: size.hidden,
  intermediate_size: size.width,
  num_hidden_layers: size.layers,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  num_local_experts: 8,
  num_experts_per_tok: 2,
}

// A compiled copy lies deeper than the source; both are run from the project's root.
const files = readdirSync('samples').filter(name => name.endsWith('.jsonl'))
const text = tensor(new Uint8Array(Buffer.concat(files.map(name => readFileSync(`samples/${name}`)))))
const model = makeModel('mixtral', fields, at)
convertWeights(model, precision, at)
const everything = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0.1 }
const optimizer = new AdamW([everything], { betas: [0.9, 0.95], epsilon: 1e-8, ...halfOptions(precision) })
const lossScaler = lossScalerFor(precision)
const autocast = precision.kind === 'autocast' ? precision.dtype : null
const options = { losses: lossesSchema.parse({}), clip: 1, autocast, lossScaler }
let step = 0

/** The loss of one step, on windows that depend on the seed and the step alone. */
function train(): number {
  step++
  return tidy(() => {
    const starts = randint(0, text.numel - length - 1, [batch], {
      seed: seed * 1e6 + step,
    }).tolist() as number[]
    const ids = stack(starts.map(start => text.narrow(0, start, length + 1)))
      .long()
      .to(at)
    const data = batchOf({
      inputs: ids.narrow(1, 0, length).contiguous(),
      targets: ids.narrow(1, 1, length).contiguous(),
    })
    const learningRate = 1e-3 * Math.min(1, step / 20)
    return (
      trainStep(model, optimizer, [data], { ...options, learningRate, observe: true }).losses?.crossEntropy ??
      0
    )
  })
}

await serve(count => {
  const losses: Record<string, number> = {}
  for (let i = 0; i < count; i++) losses[`loss${step}`] = train()
  finish()
  return { ...losses, tensors: memoryUse().tensors, allocated: allocatedBytes() }
})
