// libtorch for TypeScript: tensors, operators, gradients, lifetimes.

export { DisposedTensorError, OutOfMemoryError, TorchError } from '../errors.ts'
export {
  arange,
  empty,
  eye,
  fromTypedArray,
  full,
  linspace,
  type NestedData,
  ones,
  type RandomOptions,
  rand,
  randint,
  randn,
  randperm,
  type TensorOptions,
  tensor,
  zeros,
} from './create.ts'
export * from './cuda/index.ts'
export * from './distributed/index.ts'
export { type Device, type DType, isFloating, itemSize, type Scalar, type TensorData } from './dtype.ts'
export { prepareEnvironment } from './environment.ts'
export { chooseGemm, gemmChoice, gemmLibraries, hasFastBf16 } from './gemm.ts'
export {
  attentionCached,
  attentionDecode,
  cancelRead,
  cat,
  crossEntropyLoss,
  dequantizeBlocks,
  dequantizeFloat8,
  dequantizePairs,
  deviceNorm,
  dropout,
  einsum,
  embedding,
  emptyLike,
  encodedExpertRows,
  encodedExperts,
  encodedLinear,
  encodedPanels,
  encodedRows,
  finishRead,
  foreachAdd_,
  foreachAddcdiv_,
  foreachAddcmul_,
  foreachMul_,
  foreachNorm,
  foreachSqrt,
  fullLike,
  fusedAdamw_,
  fusedCausalAttention,
  fusedExperts,
  fusedLinear,
  fusedLinearCrossEntropy,
  fusedRmsNorm,
  fusedRotate,
  fusedRoute,
  hasRead,
  hurryRead,
  layerNorm,
  lstm,
  mixedAdamw_,
  mseLoss,
  nllLoss,
  onesLike,
  packedRows,
  quantizeBlocks,
  randLike,
  randnLike,
  searchsorted,
  stack,
  startRead,
  steadyProducts,
  sumChoices,
  vectorNorm,
  where,
  zerosLike,
} from './generated/functions.ts'
export { Generator, manualSeed, withSeed } from './generator.ts'
export { type GradOptions, grad } from './grad.ts'
export { gradcheck } from './gradcheck.ts'
export { type KernelName, kernelFor, kernelNames, withKernels } from './kernels.ts'
export { linear } from './linear.ts'
export { examineMachine, type Machine, type Rate } from './machine.ts'
export { MappedFile, mapFile } from './map-file.ts'
export type { OperatorSchema, OperatorTime, RuntimeInfo } from './native.ts'
export {
  chooseSimd,
  decodedRows,
  type EncodedRows,
  inPanels,
  panelRows,
  panelsOf,
  rowsOfPanels,
  simdChoice,
  simdLevels,
} from './panels.ts'
export { profile } from './profile.ts'
export { isRecorded, isSecondRun, recompute } from './recompute.ts'
export {
  callOperator,
  emptyCache,
  hasOperator,
  limitCache,
  loadOperators,
  type MemoryUse,
  memoryUse,
  operatorNames,
  resetPeakMemory,
  runtimeInfo,
  setThreads,
} from './runtime.ts'
export { type Recorded, record, refuseTape, Tape } from './tape.ts'
export { type NestedNumbers, Tensor, unmade } from './tensor.ts'
export { autocast, enableGrad, fullPrecision, inferenceMode, noGrad, tensorsIn, tidy } from './tidy.ts'
