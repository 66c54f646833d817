// Mixture-of-Experts layers: routers, dispatch, experts, losses, statistics.

export { MixtureLayer, type MixtureLayerOptions } from './classical/deep-mixture.ts'
export { HierarchicalMixture, type HierarchicalMixtureOptions } from './classical/hierarchical-mixture.ts'
export { GaussianGate, KernelRidgeExpert, type KernelRidgeOptions } from './classical/kernel-ridge.ts'
export {
  competitiveError,
  cooperativeError,
  type Gate,
  type LocalExpert,
  LocalExperts,
  logMixtureError,
  type MixtureOutput,
  posterior,
  SoftmaxGate,
} from './classical/mixture.ts'
export type { Dispatch, DispatchContext, Experts, Mixed } from './contracts.ts'
export { type CapacityOptions, capacityDispatch, expertCapacity } from './dispatch/capacity.ts'
export { type DropOptions, type DropPolicy, dropBeyondCapacity } from './dispatch/drop.ts'
export { dropless } from './dispatch/dropless.ts'
export { type FixedCapacityOptions, fixedCapacityDispatch } from './dispatch/fixed-capacity.ts'
export { chosenAmong, rechosen } from './dispatch/rechoose.ts'
export { referenceDispatch, referenceMoe } from './dispatch/reference.ts'
export { keepHeaviest, medianRatio, skipWeak } from './dispatch/skip.ts'
export { createDispatch, type DispatchConfig, dispatchSchema } from './dispatch/table.ts'
export { skipInactive } from './experts/active-rows.ts'
export { ClampedExperts, type ClampedExpertsOptions } from './experts/clamped.ts'
export { type EncodedStacks, expertRowsInto, mixEncoded } from './experts/encoded-weights.ts'
export { type ExpertSizes, mixGrouped } from './experts/experts.ts'
export type { ExpertForm, FusedForm } from './experts/forms.ts'
export { GatedExperts } from './experts/gated.ts'
export { throughGroups } from './experts/groups.ts'
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
export { PlainExperts, type PlainExpertsOptions } from './experts/plain.ts'
export { PlainMlp, type PlainMlpOptions } from './experts/plain-mlp.ts'
export {
  SharedBaseExperts,
  type SharedBaseExpertsOptions,
  SharedBaseLinear,
  SharedExperts,
  type SharedLinear,
} from './experts/shared-base.ts'
export { splitExperts } from './experts/split.ts'
export { StackedExperts, type StackedExpertsOptions } from './experts/stacked.ts'
export { type ExpertsConfig, type ExpertsOptions, expertsSchema, makeExperts } from './experts/table.ts'
export {
  decodedStacks,
  denseWeights,
  type ExpertWeights,
  matricesOf,
  type Projections,
  parameterWeights,
} from './experts/weights.ts'
export { checkFewer, type FewerExperts, serveFewer } from './fewer.ts'
export { type LayerContext, MoeLayer, type MoeOutput, type RoutingOf } from './layer.ts'
export {
  type BalanceConvention,
  type BalancePreset,
  type BalanceScope,
  balanceLoss,
  balancePresets,
  globalBalanceLoss,
  hfBalanceLoss,
  switchBalanceLoss,
} from './losses/balance.ts'
export { localizedBalanceLoss } from './losses/localized.ts'
export { chosenWidths, parameterPenalty } from './losses/parameter-penalty.ts'
export { routerZLoss, varianceLoss } from './losses/router.ts'
export type { Decisions, LossTerm } from './losses/row.ts'
export { deviceBalanceLoss, squaredBalanceLoss } from './losses/shares.ts'
export { type LossSettings, lossFields, lossTerms } from './losses/table.ts'
export { LstmMixture, type LstmMixtureOptions, type LstmMixtureState } from './lstm-mixture.ts'
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
export { Agreement, layersOfChoice, type Reroute, reroute } from './reroute.ts'
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
export { type DropExpertsOptions, dropExperts } from './routers/expert-dropout.ts'
export { GroupLimitedRouter, type GroupLimitedRouterOptions } from './routers/group-limited.ts'
export { SequenceRouter, TaskRouter, type TaskRouterOptions } from './routers/grouped-tokens.ts'
export { balancedTable, HashRouter, type HashRouterOptions } from './routers/hash.ts'
export { HierarchicalRouter, type HierarchicalRouterOptions } from './routers/hierarchical.ts'
export { type Choice, LinearRouter, type LinearRouterOptions } from './routers/linear.ts'
export { NoisyTopKRouter, type NoisyTopKRouterOptions, smoothLoad } from './routers/noisy-top-k.ts'
export { NullExpertRouter, type NullExpertRouterOptions } from './routers/null-experts.ts'
export { type ReinforceOptions, ReinforceRouter, reinforceLoss } from './routers/reinforce.ts'
export type { Router, TokenContext } from './routers/router.ts'
export type { RouterSizes } from './routers/row.ts'
export { SinkhornRouter, type SinkhornRouterOptions, sinkhorn } from './routers/sinkhorn.ts'
export { canBeSkewed, skewedLoads, skewedScales } from './routers/skew.ts'
export { SoftRouter, type SoftRouterOptions } from './routers/soft.ts'
export { SparseMixerRouter, type SparseMixerRouterOptions } from './routers/sparse-mixer.ts'
export {
  activeExperts,
  createRouter,
  hasConstantWeight,
  ownLossCoefficients,
  type RouterConfig,
  type RouterKind,
  requireCausal,
  routerSchema,
  tokensChoose,
} from './routers/table.ts'
export { type SecondExpertPolicy, Top2Router, type Top2RouterOptions } from './routers/top-2.ts'
export { TopKRouter, type TopKRouterOptions } from './routers/top-k.ts'
export { TopPRouter, type TopPRouterOptions } from './routers/top-p.ts'
export { WordRouter } from './routers/words.ts'
export { entropyLoss } from './routing/entropy.ts'
export type { ExpertRouting } from './routing/expert.ts'
export { overBatch } from './routing/over-batch.ts'
export type { PeerRouting } from './routing/peer.ts'
export type { SoftRouting } from './routing/soft.ts'
export { type Dispatched, sortedDispatch } from './routing/sorted.ts'
export { type AnyRouting, countPerExpert, loadByDomain, type Routing } from './routing/table.ts'
export { type TokenRouting, withoutPadding } from './routing/token.ts'
export { equalStarts, type Starts } from './sequences.ts'
export { SharedExpertMoe, type SharedExpertOptions, withSharedExpert } from './shared-expert.ts'
export { loadStats, type RoutingStats, routingStats } from './stats.ts'
export { computeSteadily, steadyProduct, steadySigmoid } from './steady.ts'
