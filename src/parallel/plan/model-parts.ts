// What of a model a rank holds and computes, from declarations alone.
// Shapes: L layers, E experts, K chosen per token.

import {
  type Declarations,
  declareModel,
  type ModelConfig,
  meanReach,
  shapesUnder,
} from '../../models/index.ts'
import { MoeLayer, PeerLayer } from '../../moe/index.ts'
import type { MeshSizes } from '../mesh.ts'
import { shardingOf, shardShape, stageLayers } from '../placement.ts'

/** Of one layer, whole. */
export interface LayerPart {
  /** By their path within the layer. */
  declarations: Declarations
  /** Elements of stacks of experts that one token does not use, and of PEER's. */
  inactive: number
  /** FLOPs of a token's forward for the positions that it attends to. */
  attentionFlops: number
  /** E and K where experts are routed to, else 0. */
  experts: number
  choices: number
}

export interface ModelParts {
  config: ModelConfig
  isCausal: boolean
  /** Neurons that PEER retrieves for a token. */
  neurons: number
  layers: LayerPart[]
  /** What runs before the layers, and after them; a tied embedding is in both. */
  before: Declarations
  after: Declarations
}

/** @param context tokens of a sequence */
export function modelParts(config: ModelConfig, context: number): ModelParts {
  const model = declareModel(config)
  const all = model.declarations()
  const { isCausal } = model.model
  const layers = model.model.layers.map(({ mlp, self_attn }, i): LayerPart => {
    const window = isCausal ? (model.model.windowOf(i) ?? context) : context
    const reach = isCausal ? meanReach(window, context) : context
    return {
      declarations: shapesUnder(all, `model.layers.${i}.`),
      inactive: mlp.inactiveParameters ?? 0,
      attentionFlops: self_attn.flopsPerPosition * reach,
      experts: mlp instanceof MoeLayer ? mlp.gate.numExperts : 0,
      choices: mlp instanceof MoeLayer ? mlp.gate.active : 0,
    }
  })
  const [peer] = model.model.layers.flatMap(({ mlp }) => (mlp instanceof PeerLayer ? mlp : []))
  const outside = [...all].filter(([path]) => !path.startsWith('model.layers.'))
  const before = outside.filter(([, { role }]) => role === 'embedding')
  const after = outside.filter(([, { role }]) => role !== 'embedding' || config.tie_word_embeddings)
  return {
    ...{ config, isCausal, layers },
    neurons: peer ? peer.heads * peer.topK : 0,
    before: new Map(before),
    after: new Map(after),
  }
}

/** Shapes of what is here of each parameter. */
export function localShapes(declarations: Declarations, sizes: MeshSizes): Declarations {
  return new Map(
    [...declarations].map(([path, declaration]) => [
      path,
      { ...declaration, shape: shardShape(declaration, shardingOf(path, declaration, sizes), sizes) },
    ]),
  )
}

/** What one stage of the pipeline has. */
export interface StagePart {
  layers: LayerPart[]
  /** Parameters outside of layers: the embedding of the first stage, norm and head of the last. */
  outside: Declarations
  /** Of them what tokens are multiplied with. */
  head: Declarations
}

export function stagePart({ layers, before, after }: ModelParts, stage: number, stages: number): StagePart {
  const [first, end] = stageLayers(layers.length, stages)[stage] as [number, number]
  const head: Declarations = stage === stages - 1 ? after : new Map()
  const outside = new Map([...(stage === 0 ? before : []), ...head]) // a tied embedding once
  return { layers: layers.slice(first, end), outside, head }
}

/**
 * FLOPs of a token's forward in a rank's part of a layer: two per element that it multiplies with, and attention. Tokens are as many
 * wherever experts are: their division along `expert` changes who computes, not how much.
 *
 * @param imbalance tokens of the busiest rank's experts over the mean
 */
export function layerFlops(part: LayerPart, sizes: MeshSizes, imbalance = 1): number {
  const local = localShapes(part.declarations, { ...sizes, expert: 1 })
  const isStack = (path: string): boolean => part.declarations.get(path)?.stacked === true
  const of = (shapes: Declarations, stacked: boolean): number =>
    elements(new Map([...shapes].filter(([path]) => isStack(path) === stacked)))
  const stacks = of(part.declarations, true)
  const inactive = stacks > 0 ? 0 : part.inactive
  const active = stacks > 0 ? (of(local, true) / stacks) * (stacks - part.inactive) : 0
  return 2 * (of(local, false) - inactive + imbalance * active) + part.attentionFlops / sizes.tensor
}

/** Numbers in all. */
export const elements = (declarations: Declarations): number =>
  [...declarations.values()].reduce((total, { shape }) => total + shape.reduce((a, b) => a * b, 1), 0)
