// Whole models: configs, checkpoints, generation.

export {
  bytesPerElement,
  countParameters,
  type FlopCounts,
  flopsPerToken,
  type LayerCounts,
  layerTable,
  type MemoryNeeds,
  memoryNeeds,
  type ParameterCounts,
} from './accounting.ts'
export {
  type Architecture,
  type CheckpointPiece,
  elementCount,
  type ParameterShapes,
} from './architecture.ts'
export {
  type LoadedModel,
  type LoadOptions,
  loadModel,
  loadWeights,
  matchTensors,
  refuseNonFinite,
  saveModel,
} from './checkpoint.ts'
export { check, type DecoderConfig } from './config.ts'
export {
  CausalLM,
  type ForwardInput,
  type ForwardOutput,
  type KeyValueCache,
  type LayerRouting,
} from './decoder.ts'
export { locateTensors, readJson, readModelConfig } from './folder.ts'
export { type CacheOptions, PreallocatedCache } from './generation/cache.ts'
export { type GenerateOptions, generate, type StopReason } from './generation/generate.ts'
export { uniformSource } from './generation/random.ts'
export { checkSampling, type SamplingOptions, sampleToken } from './generation/sampling.ts'
export { type GenerateTextOptions, type GenerationEnd, generateText, StopTexts } from './generation/text.ts'
export { headLoss, nextTokenLoss, shiftedLoss } from './loss.ts'
export { type MistralConfig, MistralForCausalLM } from './mistral.ts'
export { denseTwin, type MixtralConfig, MixtralForCausalLM } from './mixtral.ts'
export { type SwitchyardMoeConfig, SwitchyardMoeForCausalLM } from './switchyard-moe.ts'
export { architectureOf, type ModelConfig, type ModelType, modelTypes, parseModelConfig } from './table.ts'
export { openTensors, tensorSource } from './tensor-file.ts'
export { type Check, compare, recordedTensor, verifyModel } from './verify.ts'
