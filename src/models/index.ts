// Whole models: configs, files, generation, counts.

export {
  bytesPerElement,
  countParameters,
  describeFeedForward,
  type FlopCounts,
  flopsPerToken,
  type LayerCounts,
  layerTable,
  type MemoryNeeds,
  meanReach,
  memoryNeeds,
  type ParameterCounts,
} from './accounting.ts'
export {
  type ActivationSizes,
  headActivations,
  type LayerActivations,
  layerActivations,
  type OutsideActivations,
  shapesUnder,
} from './activation-memory.ts'
export { type AdapterConfig, type AdapterModule, adapterSchema, attachAdapters } from './adapters/attach.ts'
export { LoraExperts } from './adapters/lora-experts.ts'
export { LoraLinear, type LoraOptions } from './adapters/lora-linear.ts'
export { MixLora, MixLoraLinear, type MixLoraOptions } from './adapters/mix-lora.ts'
export { MoLoraLinear, MovLinear, SoftGate } from './adapters/soft-mixtures.ts'
export type { Architecture, CheckpointPiece, Declarations } from './architectures/architecture.ts'
export { check } from './architectures/config.ts'
export {
  type AnyModel,
  createModel,
  declarationsOf,
  declareModel,
  type ModelOf,
  publishedPiecesOf,
} from './architectures/create.ts'
export type { MistralConfig } from './architectures/mistral.ts'
export { denseTwin, type MixtralConfig } from './architectures/mixtral.ts'
export { nllbMoeFields } from './architectures/nllb-moe.ts'
export { switchTransformersFields } from './architectures/switch-transformers.ts'
export type { SwitchyardMoeConfig } from './architectures/switchyard-moe.ts'
export type { SwitchyardMoeEncoderConfig } from './architectures/switchyard-moe-encoder.ts'
export {
  type AnyModelConfig,
  architectureOf,
  type DecoderModelConfig,
  dropoutOf,
  type EncoderDecoderModelConfig,
  isDecoder,
  isEncoderDecoder,
  type ModelConfig,
  modelTypes,
  parseAnyConfig,
  parseModelConfig,
  requireOneStack,
  routerLossesOf,
} from './architectures/table.ts'
export { isAdapter, loadAdapters, saveAdapters } from './files/adapter/adapter-files.ts'
export type { Adapted } from './files/adapter/layout.ts'
export { mergeAdapter } from './files/adapter/merge.ts'
export { chatTemplateOf, templateTokens } from './files/chat-template.ts'
export { copyTokenizer } from './files/conversion/copy-tokenizer.ts'
export { type BlockEncoder, type RowPlace, roundToNearest } from './files/conversion/encode.ts'
export {
  type GgufModelTensor,
  ggufTensorsOf,
  ggufValues,
  visitRows,
} from './files/conversion/gguf-tensors.ts'
export { type ToGgufOptions, type WrittenGguf, writeGgufModel } from './files/conversion/to-gguf.ts'
export {
  isVector,
  parseTypeRules,
  parseTypes,
  type TensorRole,
  type TypeRules,
  tensorRoles,
  typesByRules,
  writableTypes,
} from './files/conversion/type-rules.ts'
export { dequantize, quantize } from './files/dequantize.ts'
export { type DrawOptions, drawingMemory, drawnSource } from './files/drawn.ts'
export type { ExpertRows } from './files/expert-rows.ts'
export { locateTensors, readAnyConfig, readJson, readModelConfig } from './files/folder.ts'
export { isGgufFile } from './files/gguf/open.ts'
export { ggufTokenizer } from './files/gguf/read-tokenizer.ts'
export { noTokenizer, tokenizerMetadata } from './files/gguf/write-tokenizer.ts'
export {
  type LoadOptions,
  loadWeights,
  loadWithoutExperts,
  type ModelWithoutExperts,
  sizesWithoutExperts,
} from './files/load.ts'
export { type MatchedPiece, matchTensors, refuseNonFinite } from './files/matching.ts'
export { findModel, type ModelKinds, OpenedModel, openModel } from './files/open.ts'
export { ParameterReader } from './files/parameters.ts'
export { roundedRows } from './files/requantize.ts'
export { averageFolder, checkpointOf, listCheckpoints, modelName, stepOf } from './files/run-folder.ts'
export { type ModelSource, openSource } from './files/source.ts'
export { type ByteRange, rawBytes, type StoredTensor } from './files/stored-tensor.ts'
export { TemplateError, TemplateThread } from './files/template-thread.ts'
export { openTensors, tensorSource, wholeTensorSource } from './files/tensor-file.ts'
export { viewOfPart } from './files/tensor-part.ts'
export {
  saveModel,
  type WriteFolderOptions,
  type WrittenFolder,
  writeModelFolder,
} from './files/write-folder.ts'
export { type BeamOptions, type BeamText, beamSearch } from './generation/beam-search.ts'
export {
  type ContrastiveOptions,
  type ContrastiveText,
  contrastiveSearch,
} from './generation/contrastive-search.ts'
export { prefillChunk } from './generation/decoder-session.ts'
export { choicesOf, DecodingStep, type StepChoices, type StepOptions } from './generation/decoding-step.ts'
export { forwardInSteps } from './generation/forward-in-steps.ts'
export {
  type GeneratedToken,
  type GenerateOptions,
  Generation,
  type GenerationTimings,
  generate,
  generateBatch,
  seedOf,
} from './generation/generate.ts'
export {
  GrowingText,
  type GrowthOptions,
  type StopReason,
  type WrittenToken,
} from './generation/growing-text.ts'
export { type TokenProbabilities, tokenProbabilities } from './generation/probabilities.ts'
export { uniformSource } from './generation/random.ts'
export { checkSampling, type SamplingOptions, sampleToken } from './generation/sampling.ts'
export { contrastiveText, type SearchTextsOptions, searchTexts } from './generation/searched-texts.ts'
export {
  lastScores,
  type Rows,
  type Session,
  type SessionOptions,
  type TextModel,
} from './generation/session.ts'
export { startSession } from './generation/start-session.ts'
export { StopTexts } from './generation/stop-texts.ts'
export {
  type GenerateTextOptions,
  type GenerationEnd,
  generateText,
  generateTexts,
  type TextPiece,
} from './generation/text.ts'
export { refuseOtherTokenizer, TextWriter, textStart } from './generation/text-writer.ts'
export type { TokenConstraint } from './generation/token-constraint.ts'
export { presetConfig } from './preset-configs.ts'
export { type Preset, type PresetCounts, presetCounts, presetNames, presetOf, presets } from './presets.ts'
export {
  type Selectable,
  type Share,
  select,
  selectable,
  selectionSchema,
  selectionWords,
} from './selection.ts'
export type { DecoderConfig, EncoderConfig, EncoderDecoderConfig } from './stack/config.ts'
export type { Recompute } from './stack/decoder.ts'
export { type DropoutRates, dropoutSchema, setDropout } from './stack/dropout.ts'
export { type EncodedSource, EncoderDecoderLM } from './stack/encoder-decoder.ts'
export {
  CausalLM,
  type ForwardOptions,
  type ForwardOutput,
  LanguageModel,
  MaskedLM,
} from './stack/language-model.ts'
export { type FeedForward, type LayerRouting, tokenRoutings } from './stack/layers.ts'
export { headLoss, meanLoss, shiftedLoss, tokenLosses } from './stack/loss.ts'
export { type Build, type DecoderParts, type EncoderDecoderParts, standardBuild } from './stack/parts.ts'
export {
  type LogitsAt,
  type SequenceOptions,
  type Tokens,
  tokensOf,
  tokensOfSequences,
} from './stack/tokens.ts'
export type { TrainableModel } from './stack/trainable.ts'
export { type Check, compare, recordedTensor, verifyModel } from './verify.ts'
