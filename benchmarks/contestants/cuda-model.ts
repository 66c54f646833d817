// Models of the CUDA benchmarks: random weights made on the device.

import { type CausalLM, declareModel, parseModelConfig } from '../../src/models/index.ts'
import { constant, fill, normal } from '../../src/nn/index.ts'
import { type Device, type DType, empty, manualSeed } from '../../src/torch/index.ts'
import type { Fields, Kind } from '../support/cuda.ts'

/** Matrices normal with 0.02, norms 1; everything is made on the device, since drawing billions of numbers takes a CPU a minute. */
export function makeModel(kind: Kind, fields: Fields, device: Device, dtype: DType = 'f32'): CausalLM {
  manualSeed(1)
  const config = parseModelConfig({ model_type: kind, ...fields }, 'benchmark')
  const model = declareModel(config) as CausalLM
  for (const parameter of model.parameters()) {
    const { shape } = parameter.declaration
    parameter.make(fill(empty(shape, { device, dtype }), shape.length > 1 ? normal(0.02) : constant(1)))
  }
  for (const buffer of model.namedBuffers().values()) buffer.makeFirst()
  return model.to(device)
}
