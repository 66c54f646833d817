// What is done with trained models: calibration and quantization.

export { calibrate, squaresByTensor, type TextBatch } from './quantize/calibrate.ts'
export { gptq, inverseFactor } from './quantize/gptq.ts'
export { Hessians } from './quantize/hessians.ts'
export { type ImportanceMatrix, readImportanceMatrix, writeImportanceMatrix } from './quantize/imatrix.ts'
export { planTypes } from './quantize/plan.ts'
export {
  type QuantizedModel,
  type QuantizeOptions,
  quantizeModel,
  type TypePlan,
} from './quantize/quantize.ts'
export type { SampleCounts, TensorReport } from './quantize/report.ts'
export type { TypeOption } from './quantize/sensitivity.ts'
export { columnImportance, type InputSquares } from './quantize/squares.ts'
export { decodeTernary, encodeTernary, type TernaryCodes } from './ternary/code.ts'
export { type TernaryMatrix, ternarize, ternaryValues } from './ternary/ternarize.ts'
