// Running models whose experts do not fit: which of them are kept, what was recorded of their use, where copies of them go.

export {
  defaultContext,
  defaultTexts,
  defaultWaiting,
  Engine,
  type EngineFacts,
  type EngineOptions,
  type EngineStatus,
  engineFacts,
  type StoreStatus,
  type TextEngine,
} from './batching/engine.ts'
export type { LayerLoad } from './batching/expert-load.ts'
export { pageTokens } from './batching/pages.ts'
export type {
  PromptRead,
  RoutedToken,
  RoutedTokens,
  TextEnd,
  TextPart,
  TextRequest,
  TextSeconds,
} from './batching/request.ts'
export { BeladyPolicy } from './cache/belady.ts'
export type { CachePolicy, ExpertGrid } from './cache/policy.ts'
export { ExpertPool } from './cache/pool.ts'
export { createPolicy, defaultPolicy, type PolicyConfig, policyNames, policySchema } from './cache/table.ts'
export { type GrammarConstraint, Grammars } from './grammar/grammars.ts'
export { jsonRule } from './grammar/json-rules.ts'
export { schemaRule } from './grammar/json-schema.ts'
export { choice, literal, Rules, sequence } from './grammar/rules.ts'
export type { JsonSchema, TextGrammar } from './grammar/text-grammar.ts'
export {
  type ClusterOptions,
  type CoActivation,
  clusterExperts,
  countCoActivation,
  pairsTogether,
} from './placement/co-activation.ts'
export {
  balancedPacking,
  type EplbOptions,
  type LayerPlacement,
  type Packing,
  type Replication,
  rebalanceExperts,
  replicateExperts,
} from './placement/eplb.ts'
export { EnginePool, type PoolOptions } from './pool/engine-pool.ts'
export { areHints, type HintTable, hintsOf, readHints, writeHints } from './prefetch/hint-table.ts'
export { HintsPrefetcher } from './prefetch/hints.ts'
export { HistoryPrefetcher } from './prefetch/history.ts'
export type { ModelSight, Prefetcher, PrefetchSubject } from './prefetch/prefetcher.ts'
export { RouterPrefetcher } from './prefetch/router.ts'
export { ServedHints } from './prefetch/served-hints.ts'
export { createPrefetcher, type PrefetchConfig, prefetchKinds, prefetchSchema } from './prefetch/table.ts'
export { type PoolKind, type PoolPlan, planPools } from './simulate/pools.ts'
export { beladyOf, type Replay, replay } from './simulate/replay.ts'
export {
  type CapacityResult,
  type Outcome,
  type PrefetchResult,
  type SimulatedPolicy,
  type Simulation,
  type SimulationOptions,
  simulateCache,
  simulatedPolicies,
} from './simulate/simulate.ts'
export type { Budget, BudgetPlan, DeviceBudget, MemoryPlan } from './store/budget.ts'
export type { DeviceDType } from './store/device-kind.ts'
export { DeviceTier, type DeviceTierOptions } from './store/device-tier.ts'
export type { ReadMode } from './store/expert-files.ts'
export { ExpertStore } from './store/expert-store.ts'
export { identityOf, readUses, writeUses } from './store/expert-uses.ts'
export type { LayerRows } from './store/layer-rows.ts'
export type { OnMiss } from './store/on-miss.ts'
export {
  type ComputePlace,
  loadTiered,
  type StoreSettings,
  TieredModel,
  type TieredOptions,
} from './store/open.ts'
export { planTiered, type TieredOutlook } from './store/outlook.ts'
export type { Pass } from './store/pass.ts'
export { ReadAhead } from './store/read-ahead.ts'
export { type Needed, StoreCounts } from './store/store-counts.ts'
export { alwaysOn, TimedTrial, type Trial, type Verdict } from './store/trial.ts'
export { countUses, emptySlot, type RoutingChoices, type Step, stepsOf } from './trace/choices.ts'
export type { TraceHeader, TraceSource } from './trace/header.ts'
export { isTrace, readChoices, type TraceBlock, TraceReader } from './trace/read.ts'
export { type RecordOptions, recordRouting, type TextBatch } from './trace/record.ts'
export { type TokenRecord, TraceWriter } from './trace/write.ts'
export { WorkerEngine } from './worker/worker-engine.ts'
