// What our own model types have in place of a feed-forward: experts behind a router, or PEER's, which have none.

import { ConfigError, invariant } from '../../errors.ts'
import {
  checkPeerSizes,
  createRouter,
  type ExpertsConfig,
  type ExpertsOptions,
  PeerLayer,
  type PeerOptions,
  type RouterConfig,
} from '../../moe/index.ts'
import { declared } from '../../nn/index.ts'
import type { FeedForward } from '../stack/layers.ts'
import type { Build } from '../stack/parts.ts'
import { moeBlock } from './moe-block.ts'

type PeerConfig = Extract<ExpertsConfig, { kind: 'peer' }>

/** What an expert block follows from. */
export interface ExpertBlockConfig {
  vocab_size: number
  hidden_size: number
  /** Width of a gated expert. */
  intermediate_size: number
  num_local_experts: number
  experts: ExpertsConfig
  /** Null where the experts need none. */
  router: RouterConfig | null
  /** Width of an expert that every token passes beside its own; 0: none (DeepSeekMoE). */
  shared_intermediate_size: number
}

export function expertBlock(config: ExpertBlockConfig, build: Build): FeedForward {
  const { experts, router, shared_intermediate_size: shared } = config
  if (experts.kind === 'peer') return new PeerLayer(peerOptions(config, experts))
  invariant(router, 'checkExperts() refuses experts without a router')
  const { hidden_size: hiddenSize, intermediate_size: intermediateSize } = config
  const sizes = { hiddenSize, numExperts: config.num_local_experts }
  return moeBlock(
    build,
    createRouter(router, { ...sizes, vocabSize: config.vocab_size }),
    { ...experts, ...sizes, intermediateSize } as ExpertsOptions,
    shared > 0 ? { hiddenSize, intermediateSize: shared } : undefined,
  )
}

/** Width of the dense feed-forward with as many active parameters, what chooses experts aside. */
export function activeWidth(config: ExpertBlockConfig): number {
  const { experts, router, num_local_experts: all, intermediate_size, hidden_size: hiddenSize } = config
  if (experts.kind === 'peer') {
    const neurons = Math.min(all, experts.heads * experts.k)
    return Math.ceil((2 * neurons) / 3) // a neuron here has two vectors, a gated one three
  }
  invariant(router, 'checkExperts() refuses experts without a router')
  const sizes = { hiddenSize, numExperts: all, vocabSize: config.vocab_size }
  const { active } = declared(() => createRouter(router, sizes))
  return active * intermediate_size + config.shared_intermediate_size
}

/** What chooses experts, in a word. */
export function chooserOf({ experts, router }: ExpertBlockConfig): string {
  return experts.kind === 'peer' ? `${experts.heads} heads of ${experts.k}` : (router?.kind ?? '')
}

function peerOptions(
  config: ExpertBlockConfig,
  { k, ...peer }: PeerConfig,
): Required<Omit<PeerOptions, 'activation'>> {
  return { ...peer, topK: k, hiddenSize: config.hidden_size, numExperts: config.num_local_experts }
}

/**
 * Refuses experts that lack what they need, or have what they have no use for, and sizes that cannot be.
 *
 * @param source names the config in errors
 * @throws ConfigError
 */
export function checkExperts(config: ExpertBlockConfig, source: string): void {
  const { experts, router, shared_intermediate_size: shared } = config
  const path = (name: string): string => `${source}: ${name}`
  if (experts.kind !== 'peer') {
    if (router !== null) return
    throw new ConfigError(`is missing: ${experts.kind} experts need one`, { path: path('router') })
  }
  if (router !== null)
    throw new ConfigError('peer retrieves experts by product keys and has no router; remove it', {
      path: path('router'),
    })
  if (shared > 0)
    throw new ConfigError(`${shared}, but peer has no shared expert; set 0`, {
      path: path('shared_intermediate_size'),
    })
  const names = {
    numExperts: 'num_local_experts',
    heads: 'experts.heads',
    topK: 'experts.k',
    querySize: 'experts.querySize',
  }
  checkPeerSizes(peerOptions(config, experts), name => path(names[name]))
}
