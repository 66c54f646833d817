// What our own model types have in place of a feed-forward: experts behind a router, or PEER's, which have none.

import { z } from 'zod'
import { ConfigError, invariant } from '../errors.ts'
import { kinds } from '../kinds.ts'
import {
  activeExperts,
  checkPeerSizes,
  createRouter,
  type DispatchOptions,
  GatedExperts,
  MoeLayer,
  PeerLayer,
  type PeerOptions,
  peerShapes,
  type RouterConfig,
  type RouterSizes,
  routerShapes,
  withSharedExpert,
} from '../moe/index.ts'
import { gatedExpertShapes, gatedMlpShapes, type NamedShapes } from './architecture.ts'
import type { FeedForward } from './decoder.ts'

const count = z.int().positive()

/** What the experts of a layer are. */
export const expertsSchema = kinds(
  /** Gated feed-forwards of intermediate_size behind a router. */
  z.strictObject({
    kind: z.literal('gated'),
    /** Rate of dropout on the experts' hidden units while training (Switch: 0.4 in fine-tuning). */
    dropout: z.number().min(0).lt(1).default(0),
  }),
  /** Single neurons, retrieved by product keys; see PeerOptions. */
  z.strictObject({
    kind: z.literal('peer'),
    heads: count.default(8),
    k: count.default(16),
    querySize: count.default(128),
    gate: z.enum(['softmax', 'relu']).default('softmax'),
    queryNorm: z.boolean().default(true),
  }),
)

type ExpertsConfig = z.infer<typeof expertsSchema>
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

export interface ExpertBlock {
  make(dispatch: DispatchOptions): FeedForward
  /** Shapes of its tensors by path. */
  shapes: NamedShapes
  /** Elements that one token does not use. */
  inactive: number
  /** Width of the dense feed-forward with as many active parameters, what chooses experts aside. */
  activeWidth: number
  /** What the experts are and what chooses them, as `top-k`. */
  experts: string
  chooser: string
}

export function expertBlock(config: ExpertBlockConfig): ExpertBlock {
  const { experts, router } = config
  if (experts.kind === 'peer') return peerBlock(config, experts)
  invariant(router, 'checkExperts() refuses gated experts without a router')
  return routedBlock(config, router, experts.dropout)
}

function routedBlock(config: ExpertBlockConfig, router: RouterConfig, dropout: number): ExpertBlock {
  const { hidden_size: hidden, intermediate_size: width, num_local_experts: experts } = config
  const sizes: RouterSizes = { hiddenSize: hidden, numExperts: experts, vocabSize: config.vocab_size }
  const shared = config.shared_intermediate_size
  const active = activeExperts(router, sizes)
  return {
    make: dispatch => {
      const gate = createRouter(router, sizes)
      const layer = new MoeLayer(
        gate,
        new GatedExperts({ ...sizes, intermediateSize: width, dropout }),
        dispatch,
      )
      return shared > 0 ? withSharedExpert(layer, { hiddenSize: hidden, intermediateSize: shared }) : layer
    },
    shapes: {
      ...prefixed('gate.', routerShapes(router, sizes)),
      ...gatedExpertShapes('experts.', experts, hidden, width),
      ...(shared > 0 && gatedMlpShapes('shared_expert.', hidden, shared)),
    },
    inactive: (experts - active) * 3 * hidden * width,
    activeWidth: active * width + shared,
    experts: `${experts} experts${shared > 0 ? ' and a shared one' : ''}`,
    chooser: router.kind,
  }
}

function peerBlock(config: ExpertBlockConfig, peer: PeerConfig): ExpertBlock {
  const { hidden_size: hidden, num_local_experts: experts } = config
  const options = peerOptions(config, peer)
  const chosen = Math.min(experts, peer.heads * peer.k)
  return {
    make: () => new PeerLayer(options),
    shapes: peerShapes(options),
    inactive: (experts - chosen) * 2 * hidden,
    activeWidth: Math.ceil((2 * chosen) / 3), // a neuron here has two vectors, a gated one three
    experts: `${experts} single-neuron experts`,
    chooser: `${peer.heads} heads of ${peer.k}`,
  }
}

function peerOptions(
  config: ExpertBlockConfig,
  { k, ...peer }: PeerConfig,
): Required<Omit<PeerOptions, 'activation'>> {
  return { ...peer, topK: k, hiddenSize: config.hidden_size, numExperts: config.num_local_experts }
}

function prefixed(prefix: string, shapes: NamedShapes): NamedShapes {
  return Object.fromEntries(Object.entries(shapes).map(([path, shape]) => [`${prefix}${path}`, shape]))
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
  if (experts.kind === 'gated') {
    if (router !== null) return
    throw new ConfigError('is missing: gated experts need one', { path: path('router') })
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
