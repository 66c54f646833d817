// Forward and backward of one MoE layer on CUDA, in bf16 with an f32 router.
//   usage: cuda-layer.ts JSON: { kind, fields, tokens }

import { randn, tidy } from '../../src/torch/index.ts'
import { convertWeights, precisionSchema } from '../../src/train/precision.ts'
import { serve } from '../support/contestant.ts'
import { device } from '../support/cuda.ts'
import { finish, peakBytes } from '../support/device.ts'
import { makeModel } from './cuda-model.ts'

const { kind, fields, tokens } = JSON.parse(process.argv[2] ?? '{}')
const at = device as 'cuda'
const model = makeModel(kind, { ...fields, num_hidden_layers: 1, vocab_size: 64 }, at)
convertWeights(model, precisionSchema.parse({ kind: 'half' }), at)
const layer = model.model.layers[0]?.mlp
if (!layer) throw new Error('the model has no layer')
const inputs = (seed: number) => randn([1, tokens, fields.hidden_size], { seed }).to(at).to('bf16')
const x = inputs(1).requiresGrad_()
const dY = inputs(2)

await serve(count => {
  for (let i = 0; i < count; i++) {
    tidy(() => {
      const output = layer.forward(x)
      const y = 'y' in output ? output.y : output
      y.backward(dY)
    })
    layer.zeroGrad()
    x.grad = null
  }
  finish()
  return { devicePeak: peakBytes() }
})
