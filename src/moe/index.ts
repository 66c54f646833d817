// Mixture-of-Experts layers: routers, dispatch, experts, losses, statistics.

export { type CapacityOptions, dropBeyondCapacity, expertCapacity } from './dispatch/capacity.ts'
export type { Dispatched } from './dispatch/dispatcher.ts'
export { countPerExpert, sortedDispatch } from './dispatch/sorted.ts'
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
export { PlainMlp } from './experts/plain-mlp.ts'
export { SharedBaseExperts, type SharedBaseExpertsOptions, SharedBaseLinear } from './experts/shared-base.ts'
export { SharedExpertMoe, type SharedExpertOptions, withSharedExpert } from './experts/shared-expert.ts'
export { splitExperts } from './experts/split.ts'
export { GatedExperts, PlainExperts, type StackedExpertsOptions } from './experts/stacked.ts'
export { type DispatchOptions, MoeLayer, type MoeOutput } from './layer.ts'
export { hfBalanceLoss, routerZLoss, switchBalanceLoss } from './losses.ts'
export { MaskedBatchNorm } from './peer/batch-norm.ts'
export { type PeerGate, PeerLayer, type PeerOptions, type PeerOutput, type PeerRouting } from './peer/peer.ts'
export { type KeyMatches, matchProductKeys } from './peer/product-keys.ts'
export { referencePeer } from './peer/reference.ts'
export { type ExpertUsage, expertUsage, unevenness, usedShare } from './peer/usage.ts'
export { referenceMoe } from './reference.ts'
export { TopKRouter, type TopKRouterOptions } from './routers/top-k.ts'
export type { Router, TokenRouting } from './routing.ts'
export { loadStats, type RoutingStats, routingStats } from './stats.ts'
