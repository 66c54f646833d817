// What backward needs of the layers of an encoder-decoder: see memory-plan.ts, whose layers these are.
// Shapes: n tokens of the sources of a micro-batch, or of its targets, at most; S positions of one, D model, H heads, Q width of all
// heads, F feed-forward width, K choices per token, E experts.

import type { Declarations, EncoderDecoderLM } from '../models/index.ts'
import { MoeLayer } from '../moe/index.ts'
import { itemSize } from '../torch/index.ts'

/** The sizes that are not the model's. */
export interface PairSizes {
  /** S */
  positions: number
  /** n */
  tokens: number
  /** Bytes of an activation. */
  size: number
}

/** Bytes of one layer, and the declarations of its parameters. */
export interface PairLayer {
  shapes: Declarations
  input: number
  activations: number
  routing: number
  working: number
}

/**
 * The encoder's layers and then the decoder's, with sources and targets as long as they may be. There is no kernel for their attention:
 * scores and their softmax are in memory, of a decoder's both attentions.
 */
export function pairLayers(model: EncoderDecoderLM, sizes: PairSizes): PairLayer[] {
  return model.layers.map((layer, i) => {
    const { positions, tokens, size } = sizes
    const width = model.config.d_model
    const attentions = layer.cross_attention ? 2 : 1
    const { numHeads, headDim } = layer.self_attn
    const input = tokens * width * size
    const scores = tokens * numHeads * positions * size
    const projections = 4 * tokens * numHeads * headDim * size
    const forward = feedForward(layer.ffn, sizes, width)
    return {
      shapes: model.layers[i]?.declarations() ?? new Map(),
      input,
      // A norm's result, and the sum after it, of each attention; the last norm's.
      activations: attentions * (2 * input + projections + 2 * scores) + input + forward.activations,
      routing: forward.routing,
      working: 2 * input + Math.max(projections + 2 * scores, forward.working),
    }
  })
}

/** Rows of experts in the order of experts, their hidden values before and after the activation; or a dense block's. */
function feedForward(
  block: EncoderDecoderLM['layers'][number]['ffn'],
  { tokens, size }: PairSizes,
  width: number,
): Pick<PairLayer, 'activations' | 'routing' | 'working'> {
  const isMoe = block instanceof MoeLayer
  const rows = isMoe ? tokens * block.gate.active : tokens
  const [experts, choices] = isMoe ? [block.gate.numExperts, block.gate.active] : [0, 0]
  const hidden = hiddenWidth(block.declarations())
  return {
    activations: rows * (2 * hidden + (isMoe ? 2 * width : 0)) * size,
    routing: tokens * itemSize.f32 * (3 * experts + 3 * choices),
    working: rows * (width + 2 * hidden) * size,
  }
}

/** F: of experts [E, F, D], of a dense block [F, D]. */
function hiddenWidth(shapes: Declarations): number {
  const up = [...shapes].find(([path]) => /up_proj(\.weight)?$/.test(path))?.[1].shape ?? []
  return up.at(-2) ?? 0
}
