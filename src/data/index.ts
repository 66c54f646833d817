// Text to tokens: sources, cleaning, tokenizers, packed corpora, the order of training windows. No tensors here.

export type { AnsweredText, Render } from './conversations/answers.ts'
export { encodeSide, languageToken } from './conversations/encode-pair.ts'
export {
  type LanguagePair,
  languagesOf,
  parallelFiles,
  parseLanguagePairs,
} from './conversations/parallel.ts'
export {
  type PrepareConversationsOptions,
  type PrepareExamplesOptions,
  prepareConversations,
  prepareExamples,
} from './conversations/prepare.ts'
export type { ChatTurn, ConversationRecord, Languages, PreferenceRecord } from './conversations/record.ts'
export { type ExampleSource, exampleFiles, isExamples } from './conversations/source.ts'
export {
  type Corpus,
  CorpusShard,
  CorpusSplit,
  isCorpus,
  openCorpus,
  type TokenRange,
  verifyCorpus,
} from './corpus.ts'
export type { CorpusManifest, DomainCounts, ShardEntry, SplitCounts, SplitName } from './corpus-manifest.ts'
export { type DebianDomainName, debianDomains, defaultDomains } from './debian/domains.ts'
export { parallelManuals } from './debian/parallel-manuals.ts'
export { type DebianSourceOptions, debianSource } from './debian/source.ts'
export type { Document, Origin, SkippedFile, SourceProgress, TextSource } from './document.ts'
export { DomainSampler, type DomainSamplerOptions } from './domain-sampler.ts'
export { isDataBin, pairOfDataBin, prepareDataBin } from './fairseq/data-bin.ts'
export { type PrepareOptions, type PrepareProgress, prepareCorpus } from './prepare.ts'
export { type FileSourceOptions, fileSource, listFiles } from './sources/files.ts'
export { sampleSource } from './sources/sample.ts'
export type { DecodeOptions, EncodeOptions, SpecialIds, Tokenizer } from './tokenizer.ts'
export { sentinelNames, withSpecialTokens } from './tokenizer-added.ts'
export { byteCharacters } from './tokenizer-bytes.ts'
export type { TokenizerChoice } from './tokenizer-choice.ts'
export { byteTokenizer, byteTokenizerFiles, loadTokenizer, parseTokenizer } from './tokenizer-file.ts'
export { StreamDecoder } from './tokenizer-stream.ts'
export { trainBpe } from './tokenizer-train.ts'
export { type WindowOrder, WindowSampler, type WindowSamplerState } from './window-sampler.ts'
export { WindowMap, type WindowPlace } from './windows.ts'
export { wordsOfTokens } from './words.ts'
