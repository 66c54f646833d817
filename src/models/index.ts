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
export { type ChatMessage, chatTemplateOf, renderChat } from './chat-template.ts'
export {
  type AnyLoadedModel,
  type LoadedLanguageModel,
  type LoadedModel,
  type LoadOptions,
  loadAnyModel,
  loadLanguageModel,
  loadModel,
  loadTextModel,
  loadWeights,
  saveModel,
} from './checkpoint.ts'
export { check, type DecoderConfig } from './config.ts'
export { copyTokenizer } from './conversion/copy-tokenizer.ts'
export { type ToFolderOptions, type WrittenFolder, writeModelFolder } from './conversion/to-folder.ts'
export { type ToGgufOptions, type WrittenGguf, writeGgufModel } from './conversion/to-gguf.ts'
export { parseTypeRules, type TypeRules, tensorRoles, writableTypes } from './conversion/type-rules.ts'
export {
  CausalLM,
  type ForwardInput,
  type ForwardOutput,
  type KeyValueCache,
  LanguageModel,
  type LayerRouting,
  type Recompute,
  tokenRoutings,
} from './decoder.ts'
export { type EncoderConfig, MaskedLM } from './encoder.ts'
export { type EncodedSource, type EncoderDecoderConfig, EncoderDecoderLM } from './encoder-decoder.ts'
export { expertsSchema } from './expert-block.ts'
export { locateTensors, readAnyConfig, readJson, readModelConfig } from './folder.ts'
export { type CacheOptions, type CachingModel, PreallocatedCache } from './generation/cache.ts'
export {
  type GeneratedToken,
  type GenerateOptions,
  Generation,
  generate,
  generateBatch,
  type StopReason,
} from './generation/generate.ts'
export type { TokenProbabilities } from './generation/probabilities.ts'
export { uniformSource } from './generation/random.ts'
export { checkSampling, type SamplingOptions, sampleToken } from './generation/sampling.ts'
export type { Rows, Session, SessionOptions, TextModel } from './generation/session.ts'
export { StopTexts } from './generation/stop-texts.ts'
export {
  type GenerateTextOptions,
  type GenerationEnd,
  generateText,
  generateTexts,
  type TextPiece,
} from './generation/text.ts'
export { isGgufFile } from './gguf/open.ts'
export { ggufTokenizer } from './gguf/read-tokenizer.ts'
export { noTokenizer, tokenizerMetadata } from './gguf/write-tokenizer.ts'
export { cachedSnapshot } from './hf-cache.ts'
export { headLoss, nextTokenLoss, shiftedLoss, tokenLosses } from './loss.ts'
export { type MatchedPiece, matchTensors, refuseNonFinite } from './matching.ts'
export { type MistralConfig, MistralForCausalLM } from './mistral.ts'
export { denseTwin, type MixtralConfig, MixtralForCausalLM } from './mixtral.ts'
export { loadModelTokenizer } from './model-tokenizer.ts'
export { type Preset, type PresetCounts, presetCounts, presetNames, presetOf, presets } from './presets.ts'
export { type ModelSource, openSource } from './source.ts'
export type { StoredTensor } from './stored-tensor.ts'
export { type SwitchyardMoeConfig, SwitchyardMoeForCausalLM } from './switchyard-moe.ts'
export { type SwitchyardMoeEncoderConfig, SwitchyardMoeForMaskedLM } from './switchyard-moe-encoder.ts'
export {
  type AnyModel,
  type AnyModelConfig,
  architectureOf,
  type DecoderModelConfig,
  type EncoderDecoderModelConfig,
  encoderDecoderOf,
  isEncoderDecoder,
  type ModelConfig,
  type ModelType,
  modelFileOf,
  modelTypes,
  parseAnyConfig,
  parseModelConfig,
} from './table.ts'
export { openTensors, tensorSource, wholeTensorSource } from './tensor-file.ts'
export { type Check, compare, recordedTensor, verifyModel } from './verify.ts'
