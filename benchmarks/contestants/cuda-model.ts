// Models of the CUDA benchmarks: random weights made on the device.

import { architectureOf, type CausalLM, parseModelConfig } from '../../src/models/index.ts'
import { skipInit } from '../../src/nn/index.ts'
import { normal } from '../../src/nn/init.ts'
import { type Device, type DType, manualSeed, noGrad, placeParameters } from '../../src/torch/index.ts'
import type { Fields, Kind } from '../support/cuda.ts'

/** Matrices normal with 0.02, norms 1; everything is made on the device, since drawing billions of numbers takes a CPU a minute. */
export function makeModel(kind: Kind, fields: Fields, device: Device, dtype: DType = 'f32'): CausalLM {
  manualSeed(1)
  const config = parseModelConfig({ model_type: kind, ...fields }, 'benchmark')
  const model = placeParameters({ device, dtype }, () =>
    skipInit(() => architectureOf(config).create(config) as CausalLM),
  )
  noGrad(() => {
    for (const parameter of model.parameters()) {
      if (parameter.ndim > 1) normal(parameter, 0.02)
      else parameter.fill_(1)
    }
  })
  model.to(device)
  return model
}
