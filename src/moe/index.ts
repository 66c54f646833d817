// Mixture-of-Experts layers: routers, dispatch, experts, losses, statistics.

export { type CapacityOptions, expertCapacity } from './dispatch/capacity.ts'
export { countPerExpert } from './dispatch/count.ts'
export type { Dispatched } from './dispatch/dispatcher.ts'
export { type DropOptions, type DropPolicy, dropBeyondCapacity } from './dispatch/drop.ts'
export { medianRatio, skipWeak } from './dispatch/skip.ts'
export { sortedDispatch } from './dispatch/sorted.ts'
export { ClampedExperts, type ClampedExpertsOptions } from './experts/clamped.ts'
export { type DropExpertsOptions, dropExperts } from './experts/expert-masking.ts'
export type { Experts } from './experts/experts.ts'
export {
  type HeterogeneousExpertOptions,
  HeterogeneousExperts,
  type HeterogeneousExpertsOptions,
} from './experts/heterogeneous.ts'
export {
  type FamilyExperts,
  type FamilyOptions,
  type LinearFamily,
  writeOutExperts,
} from './experts/linear-family.ts'
export {
  MatrixProductExperts,
  type MatrixProductExpertsOptions,
  MatrixProductLinear,
} from './experts/matrix-product.ts'
export { type ExpertModule, ModuleExperts } from './experts/module-experts.ts'
export { chosenWidths, parameterPenalty } from './experts/parameter-penalty.ts'
export { PlainMlp, type PlainMlpOptions } from './experts/plain-mlp.ts'
export { SharedBaseExperts, type SharedBaseExpertsOptions, SharedBaseLinear } from './experts/shared-base.ts'
export { SharedExpertMoe, type SharedExpertOptions, withSharedExpert } from './experts/shared-expert.ts'
export { splitExperts } from './experts/split.ts'
export {
  GatedExperts,
  PlainExperts,
  type PlainExpertsOptions,
  type StackedExpertsOptions,
} from './experts/stacked.ts'
export { type LayerContext, MoeLayer, type MoeOutput } from './layer.ts'
export {
  type BalanceConvention,
  type BalancePreset,
  balanceLoss,
  balancePresets,
  globalBalanceLoss,
  hfBalanceLoss,
  switchBalanceLoss,
} from './losses/balance.ts'
export {
  deviceBalanceLoss,
  entropyLoss,
  orthogonalityLoss,
  routerZLoss,
  squaredBalanceLoss,
  varianceLoss,
} from './losses/router.ts'
export { MaskedBatchNorm } from './peer/batch-norm.ts'
export { checkPeerSizes, type PeerGate, PeerLayer, type PeerOptions } from './peer/peer.ts'
export { type KeyMatches, matchProductKeys } from './peer/product-keys.ts'
export { referencePeer } from './peer/reference.ts'
export {
  type ExpertUsage,
  expertUsage,
  type UsageStats,
  unevenness,
  usageStats,
  usedShare,
} from './peer/usage.ts'
export { referenceMoe } from './reference.ts'
export {
  type AssignmentProblem,
  assignmentScore,
  auctionAssignment,
  exactAssignment,
} from './routers/assignment.ts'
export { BaseRouter } from './routers/base.ts'
export { BiasedTopKRouter, type BiasedTopKRouterOptions } from './routers/biased-top-k.ts'
export { CentroidRouter, type CentroidRouterOptions, sphericalKMeans } from './routers/centroids.ts'
export { CosineRouter, type CosineRouterOptions } from './routers/cosine.ts'
export { capped, ExpertChoiceRouter, type ExpertChoiceRouterOptions } from './routers/expert-choice.ts'
export { GroupLimitedRouter, type GroupLimitedRouterOptions } from './routers/group-limited.ts'
export { SequenceRouter, TaskRouter, type TaskRouterOptions } from './routers/grouped-tokens.ts'
export { balancedTable, HashRouter, type HashRouterOptions } from './routers/hash.ts'
export { HierarchicalRouter, type HierarchicalRouterOptions } from './routers/hierarchical.ts'
export { LinearRouter, type LinearRouterOptions } from './routers/linear.ts'
export { NoisyTopKRouter, type NoisyTopKRouterOptions, smoothLoad } from './routers/noisy-top-k.ts'
export { NullExpertRouter, type NullExpertRouterOptions } from './routers/null-experts.ts'
export { type ReinforceOptions, ReinforceRouter, reinforceLoss } from './routers/reinforce.ts'
export { SinkhornRouter, type SinkhornRouterOptions, sinkhorn } from './routers/sinkhorn.ts'
export { SoftRouter, type SoftRouterOptions } from './routers/soft.ts'
export { SparseMixerRouter, type SparseMixerRouterOptions } from './routers/sparse-mixer.ts'
export {
  activeExperts,
  createRouter,
  hasConstantWeight,
  ownLossCoefficients,
  type RouterConfig,
  type RouterKind,
  type RouterSizes,
  requireCausal,
  routerSchema,
  routerShapes,
  tokensChoose,
} from './routers/table.ts'
export { type SecondExpertPolicy, Top2Router, type Top2RouterOptions } from './routers/top-2.ts'
export { TopKRouter, type TopKRouterOptions } from './routers/top-k.ts'
export { TopPRouter, type TopPRouterOptions } from './routers/top-p.ts'
export { WordRouter } from './routers/words.ts'
export type {
  AnyRouting,
  ExpertRouting,
  PeerRouting,
  Router,
  Routing,
  SoftRouting,
  TokenContext,
  TokenRouting,
} from './routing.ts'
export * from './shim.ts'
export { loadStats, type RoutingStats, routingStats } from './stats.ts'
