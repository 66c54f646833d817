// Experts behind a router, in place of a feed-forward.

import {
  type ExpertsOptions,
  MoeLayer,
  type Router,
  type Routing,
  type SharedExpertOptions,
  withSharedExpert,
} from '../../moe/index.ts'
import type { Module } from '../../nn/index.ts'
import type { FeedForward } from '../stack/layers.ts'
import type { Build } from '../stack/parts.ts'

/** @param shared an expert that every token passes beside its own; default: none */
export function moeBlock(
  build: Build,
  gate: Module & Router<Routing>,
  experts: ExpertsOptions,
  shared?: SharedExpertOptions,
): FeedForward {
  const layer = new MoeLayer(gate, build.experts(experts), build.dispatch)
  return shared ? withSharedExpert(layer, shared) : layer
}
