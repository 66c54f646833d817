/**
 * What one builds with: open or make a model, train it, let it write, and the layers to make one's own of. Everything
 * else is an entry point for each floor, as `switchyard/moe`.
 *
 * @module switchyard
 */

export {
  byteTokenizer,
  byteTokenizerFiles,
  type Corpus,
  fileSource,
  loadTokenizer,
  openCorpus,
  prepareCorpus,
  sampleSource,
  type Tokenizer,
  WindowSampler,
} from './data/index.ts'
export {
  ConfigError,
  DataError,
  DisposedTensorError,
  FormatError,
  OutOfMemoryError,
  SwitchyardError,
  TorchError,
} from './errors.ts'
export {
  CausalLM,
  copyTokenizer,
  createModel,
  drawnSource,
  EncoderDecoderLM,
  type GenerateTextOptions,
  type GenerationEnd,
  generateText,
  generateTexts,
  MaskedLM,
  noTokenizer,
  OpenedModel,
  openModel,
  parseModelConfig,
  parseTypeRules,
  saveModel,
  tokenizerMetadata,
  tokenRoutings,
  tokensOf,
  tokensOfSequences,
  writeGgufModel,
} from './models/index.ts'
export {
  BiasedTopKRouter,
  balanceLoss,
  balancePresets,
  capacityDispatch,
  createRouter,
  type Dispatch,
  dropless,
  ExpertChoiceRouter,
  type Experts,
  GatedExperts,
  hfBalanceLoss,
  MoeLayer,
  makeExperts,
  NoisyTopKRouter,
  PeerLayer,
  PlainExperts,
  type Router,
  type RoutingStats,
  routerZLoss,
  routingStats,
  SoftRouter,
  switchBalanceLoss,
  type TokenContext,
  type TokenRouting,
  Top2Router,
  TopKRouter,
  TopPRouter,
  withSharedExpert,
} from './moe/index.ts'
export { Buffer, Embedding, LayerNorm, Linear, Module, Parameter, RMSNorm } from './nn/index.ts'
export {
  callOperator,
  inferenceMode,
  manualSeed,
  memoryUse,
  noGrad,
  randn,
  Tensor,
  tensor,
  tidy,
  zeros,
} from './torch/index.ts'
export {
  AdamW,
  evaluate,
  loadRecipe,
  type Recipe,
  TokenWindows,
  type TrainEvent,
  train,
} from './train/index.ts'
