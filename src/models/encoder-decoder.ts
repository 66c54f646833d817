// An encoder-decoder transformer: what Switch and NLLB share. A model file adds the parts in which it differs.
// Shapes: B batch, S positions of the source, T new positions of the target, U those with the cached ones, D model,
// V vocabulary.

import type { LayerContext } from '../moe/index.ts'
import {
  type CacheShape,
  causalMask,
  Embedding,
  type KeysValues,
  type LayerNorm,
  Linear,
  type MemoryAttention,
  Module,
  normal,
  type RMSNorm,
} from '../nn/index.ts'
import { type Device, type DType, linear, noGrad, Tensor, tidy } from '../torch/index.ts'
import type { FeedForward, ForwardOutput, KeyValueCache, LayerRouting } from './decoder.ts'
import { type GenerateOptions, generate, type StopReason } from './generation/generate.ts'
import { encoderDecoderSession, type Session, type SessionOptions } from './generation/session.ts'

/** What every encoder-decoder here has, whatever its config calls it. */
export interface EncoderDecoderConfig {
  vocab_size: number
  d_model: number
  pad_token_id: number
  /** Several where any of them ends a text. */
  eos_token_id: number | number[] | null
  bos_token_id: number | null
  /** What the decoder begins with. */
  decoder_start_token_id: number
  tie_word_embeddings: boolean
}

export type Side = 'encoder' | 'decoder'

/** [1, H, T, S], added to the scores of queries at `past ..` on positions `0 ..`. */
export type PositionBias = Module & { forward(queries: number, positions: number, past?: number): Tensor }

/** The parts in which encoder-decoders differ. */
export interface EncoderDecoderParts {
  layers: Record<Side, number>
  attention(): MemoryAttention
  norm(): RMSNorm | LayerNorm
  feedForward(side: Side, layer: number): FeedForward
  /** Bias of the scores within a side, made once for all layers. Default: none. */
  positionBias?(side: Side): PositionBias
  /** Token vectors as the first layer reads them: ids i64 [B, T], vectors [B, T, D]. Default: as they are. */
  embed?(vectors: Tensor, ids: Tensor, past: number): Tensor
  /** Multiplies the hidden states before a tied head. Default 1. */
  headScale?: number
  initializerRange: number
  /** Whether padding is kept out of routing, as `router_ignore_padding_tokens` says. */
  routesPadding: boolean
}

/** Masks and biases that all layers of a side share. */
interface SideInput {
  blocked: Tensor | null
  bias: Tensor | null
  tokens: LayerContext
}

/** A source text as the decoder sees it. */
export interface EncodedSource {
  /** Of each decoder layer, [B, H, S, headDim]. */
  keysValues: KeysValues[]
  /** bool [B, 1, 1, S], true for padding; null: none. */
  blocked: Tensor | null
  routings: LayerRouting[]
}

type LayerOutput = { hidden: Tensor } & Partial<Omit<LayerRouting, 'layer'>>

/** `h = x + attention(norm(x))`, in a decoder `h + attention(norm(h), source)`, then `h + feedForward(norm(h))`. */
class Layer extends Module {
  readonly self_attn: MemoryAttention
  readonly self_attn_layer_norm: RMSNorm | LayerNorm
  readonly cross_attention: MemoryAttention | null
  readonly cross_attention_layer_norm: RMSNorm | LayerNorm | null
  readonly ffn: FeedForward
  readonly ff_layer_norm: RMSNorm | LayerNorm

  constructor(side: Side, layer: number, parts: EncoderDecoderParts) {
    super()
    this.self_attn = parts.attention()
    this.self_attn_layer_norm = parts.norm()
    this.cross_attention = side === 'decoder' ? parts.attention() : null
    this.cross_attention_layer_norm = side === 'decoder' ? parts.norm() : null
    this.ffn = parts.feedForward(side, layer)
    this.ff_layer_norm = parts.norm()
  }

  forward(
    x: Tensor,
    { blocked, bias, tokens }: SideInput,
    cache?: KeyValueCache['layers'][number],
    source?: KeysValues & { blocked: Tensor | null },
  ): LayerOutput {
    const normed = this.self_attn_layer_norm.forward(x)
    let { keys, values } = this.self_attn.keysValues(normed)
    if (cache) [keys, values] = cache.append(keys, values)
    let h = x.add(this.self_attn.forward(normed, { keys, values, blocked, bias }))
    if (source && this.cross_attention && this.cross_attention_layer_norm) {
      const query = this.cross_attention_layer_norm.forward(h)
      h = h.add(this.cross_attention.forward(query, { ...source, bias: null }))
    }
    const output = this.ffn.forward(this.ff_layer_norm.forward(h), tokens)
    if (output instanceof Tensor) return { hidden: h.add(output) }
    return { hidden: h.add(output.y), chosen: output.routing, served: output.served }
  }
}

/** One side: layers, and a norm of what they give. */
class Stack extends Module {
  readonly layers: Layer[]
  readonly layer_norm: RMSNorm | LayerNorm
  readonly position_bias: PositionBias | null
  readonly #firstLayer: number

  constructor(side: Side, parts: EncoderDecoderParts) {
    super()
    this.#firstLayer = side === 'encoder' ? 0 : parts.layers.encoder
    this.layers = Array.from({ length: parts.layers[side] }, (_, layer) => new Layer(side, layer, parts))
    this.layer_norm = parts.norm()
    this.position_bias = parts.positionBias?.(side) ?? null
  }

  /** Runs the layers on x [B, T, D], which is given up. */
  forward(
    x: Tensor,
    input: Omit<SideInput, 'bias'>,
    past = 0,
    cache?: KeyValueCache,
    source?: EncodedSource,
  ): { hidden: Tensor; routings: LayerRouting[] } {
    const bias = this.position_bias?.forward(x.size(1), past + x.size(1), past) ?? null
    const routings: LayerRouting[] = []
    let hidden = x
    for (const [i, layer] of this.layers.entries()) {
      const memory = source?.keysValues[i]
      const output = tidy(() =>
        layer.forward(
          hidden,
          { ...input, bias },
          cache?.layers[i],
          memory && { ...memory, blocked: source?.blocked ?? null },
        ),
      )
      hidden.dispose()
      hidden = output.hidden
      if (output.chosen)
        routings.push({
          layer: this.#firstLayer + i,
          chosen: output.chosen,
          served: output.served ?? output.chosen,
        })
    }
    return { hidden: this.layer_norm.forward(hidden), routings }
  }
}

export interface TargetInput {
  /** Keys and values of earlier calls; the new positions follow them. */
  cache?: KeyValueCache | undefined
}

/** An encoder-decoder with a head that scores the target's next token. */
export class EncoderDecoderLM extends Module {
  readonly shared: Embedding // [V, D]
  readonly encoder: Stack
  readonly decoder: Stack
  /** [V, D]; null when the embedding is used for both. */
  readonly lm_head: Linear | null
  readonly config: EncoderDecoderConfig
  readonly #parts: EncoderDecoderParts

  constructor(config: EncoderDecoderConfig, parts: EncoderDecoderParts) {
    super()
    this.config = config
    this.#parts = parts
    this.shared = new Embedding(config.vocab_size, config.d_model, { paddingIndex: config.pad_token_id })
    this.encoder = new Stack('encoder', parts)
    this.decoder = new Stack('decoder', parts)
    this.lm_head = config.tie_word_embeddings
      ? null
      : new Linear(config.d_model, config.vocab_size, { bias: false })
    for (const parameter of this.parameters())
      if (parameter.ndim > 1) normal(parameter, parts.initializerRange)
    noGrad(() => tidy(() => void this.shared.weight.select(0, config.pad_token_id).zero_()))
  }

  /** What attention keeps of each position of the target, by layer. */
  get cacheShapes(): CacheShape[] {
    return this.decoder.layers.map(layer => layer.self_attn.cacheShape)
  }

  get dtype(): DType {
    return this.shared.weight.dtype
  }

  get device(): Device {
    return this.shared.weight.device
  }

  /**
   * @param ids i64 [B, S]
   * @param mask bool [B, S], false for padding; default: no padding
   */
  encode(ids: Tensor, mask: Tensor | null = null): EncodedSource {
    return tidy(() => {
      const blocked = mask === null ? null : mask.logicalNot().unsqueeze(1).unsqueeze(1)
      const input = { blocked, tokens: { ids, mask: this.#parts.routesPadding ? null : mask } }
      const { hidden, routings } = this.encoder.forward(this.#embed(ids, 0), input)
      const keysValues = this.decoder.layers.map(layer =>
        (layer.cross_attention as MemoryAttention).keysValues(hidden),
      )
      return { keysValues, blocked, routings }
    })
  }

  /** ids i64 [B, T] of the target, beginning with decoder_start_token_id -> logits [B, T, V] */
  decode(ids: Tensor, source: EncodedSource, { cache }: TargetInput = {}): ForwardOutput {
    return tidy(() => {
      const past = cache?.length ?? 0
      const blocked = causalMask(ids.size(1), { past, device: ids.device })
      const input = { blocked, tokens: { ids } }
      const { hidden, routings } = this.decoder.forward(this.#embed(ids, past), input, past, cache, source)
      return { logits: this.#score(hidden), routings }
    })
  }

  /** Both at once: ids [B, S], target [B, T] -> logits [B, T, V]; routings of the encoder come first. */
  forward(ids: Tensor, target: Tensor, mask: Tensor | null = null): ForwardOutput {
    return tidy(() => {
      const source = this.encode(ids, mask)
      const { logits, routings } = this.decode(target, source)
      return { logits, routings: [...source.routings, ...routings] }
    })
  }

  startSession(options: SessionOptions): Session {
    return encoderDecoderSession(this, options)
  }

  /** Answers a source text, one id at a time; see generate(). */
  generate(source: readonly number[], options?: GenerateOptions): AsyncGenerator<number, StopReason> {
    return generate(this, source, options)
  }

  #embed(ids: Tensor, past: number): Tensor {
    const vectors = this.shared.forward(ids)
    return this.#parts.embed?.(vectors, ids, past) ?? vectors
  }

  #score(hidden: Tensor): Tensor {
    if (this.lm_head) return this.lm_head.forward(hidden)
    const { headScale = 1 } = this.#parts
    return linear(headScale === 1 ? hidden : hidden.mul(headScale), this.shared.weight)
  }
}
