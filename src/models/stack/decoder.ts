// A stack of transformer layers: what Mixtral and its kin share, and encoders too, which look both ways.
// Shapes: N new tokens of B sequences, D model, V vocabulary, R rotated dimensions.

import type { LayerContext } from '../../moe/index.ts'
import {
  type AttentionInput,
  Buffer,
  Dropout,
  Embedding,
  frequencyTable,
  type KvCache,
  Module,
  type RotaryFrequencies,
  type Rotation,
  rotaryFrequencies,
  rotation,
  type SelfAttention,
} from '../../nn/index.ts'
import { noGrad, recompute, type Tensor, tidy } from '../../torch/index.ts'
import { type DecoderConfig, rotaryDimOf } from './config.ts'
import { addFeedForward, type FeedForward, type LayerOutput, type LayerRouting, runLayers } from './layers.ts'
import type { DecoderParts, Norm } from './parts.ts'
import type { Tokens } from './tokens.ts'

/** `h = x + s attention(norm(x))`, then `h + s feedForward(norm(h))`; `s` is 1 in most models. Dropout is of what is added. */
export class DecoderLayer extends Module {
  readonly input_layernorm: Norm
  readonly self_attn: SelfAttention
  readonly post_attention_layernorm: Norm
  readonly mlp: FeedForward
  readonly dropout = new Dropout(0)
  readonly #residual: number

  constructor(layer: number, parts: Required<DecoderParts>) {
    super()
    this.input_layernorm = parts.norm()
    this.self_attn = parts.attention(layer)
    this.post_attention_layernorm = parts.norm()
    this.mlp = parts.feedForward(layer)
    this.#residual = parts.scales.residual
  }

  /** x [N, D] -> [N, D] */
  forward(x: Tensor, attention: AttentionInput, tokens: LayerContext): LayerOutput {
    const { dropout } = this
    const scale = this.#residual
    const attended = this.self_attn.forward(this.input_layernorm.forward(x), attention)
    const h = x.add(dropout.forward(attended), scale)
    return addFeedForward(h, this.mlp, this.post_attention_layernorm.forward(h), tokens, { dropout, scale })
  }
}

/** Nothing, or each layer as a whole, of which backward keeps the input alone; see recompute(). */
export type Recompute = 'none' | 'layers'

/** Embedding, layers and final norm, under the checkpoint path `model`. */
export class Decoder extends Module {
  readonly embed_tokens: Embedding // [V, D]
  readonly layers: DecoderLayer[]
  readonly norm: Norm
  /** Of token vectors. */
  readonly dropout = new Dropout(0)
  /** What training computes again in backward instead of keeping it. May be changed at any time. */
  recompute: Recompute = 'none'
  /** Is told of new tokens before they are read. To be set before a text begins: steps of decoding may be played from a tape. */
  onTokens: ((tokens: Tokens) => void) | null = null
  /** f32 [R / 2]; null when they depend on the length of the text. */
  readonly inv_freq: Buffer | null
  readonly #config: DecoderConfig
  readonly #parts: Required<DecoderParts>

  constructor(config: DecoderConfig, parts: Required<DecoderParts>) {
    super()
    const padding = config.pad_token_id === null ? {} : { paddingIndex: config.pad_token_id }
    this.embed_tokens = new Embedding(config.vocab_size, config.hidden_size, padding)
    this.layers = Array.from({ length: config.num_hidden_layers }, (_, i) => new DecoderLayer(i, parts))
    this.norm = parts.norm()
    this.#config = config
    this.#parts = parts
    const depends = ['dynamic', 'longrope'].includes(config.rope_scaling.rope_type)
    this.inv_freq = depends ? null : this.#fixedFrequencies()
  }

  /** Whether a position sees nothing of later ones. */
  get isCausal(): boolean {
    return this.#parts.isCausal
  }

  /** Positions that a layer looks back on; null: all. */
  windowOf(layer: number): number | null {
    return this.#parts.window(layer)
  }

  /** Hidden states [N, D] of new tokens, which follow those in the cache. */
  forward(tokens: Tokens, cache?: KvCache): { hidden: Tensor; routings: LayerRouting[] } {
    const { ids, starts, tasks = null, mostExperts = null } = tokens
    this.onTokens?.(tokens)
    const rotation = this.#rotation(tokens)
    const { isCausal } = this
    const { hidden, routings } = runLayers(
      this.layers,
      this.dropout.forward(this.#embed(ids)),
      (layer, x, i) =>
        this.#run(layer, [
          x,
          { rotation, starts, isCausal, window: this.windowOf(i), store: cache?.layers[i] },
          { ids, tasks, starts, mostExperts },
        ]),
    )
    cache?.advance(starts)
    return { hidden: this.norm.forward(hidden), routings }
  }

  /** A layer that appends to a cache cannot run twice. */
  #run(layer: DecoderLayer, input: Parameters<DecoderLayer['forward']>): LayerOutput {
    const forward = (...again: typeof input): LayerOutput => layer.forward(...again)
    const isRepeatable = this.recompute === 'layers' && input[1].store === undefined
    return isRepeatable ? recompute(forward, input) : forward(...input)
  }

  #embed(ids: Tensor): Tensor {
    const { embedding } = this.#parts.scales
    const vectors = this.embed_tokens.forward(ids)
    return embedding === 1 ? vectors : vectors.mul(embedding)
  }

  /** Angles, the same for every layer. */
  #rotation({ positions, extent }: Tokens): Rotation {
    const { frequencies, scale } = this.#frequencies(extent)
    return noGrad(() => tidy(() => rotation(positions, this.inv_freq ?? frequencies, scale)))
  }

  #frequencies(length: number): RotaryFrequencies {
    const { rope_theta: theta, rope_scaling: scaling } = this.#config
    return rotaryFrequencies({ dim: rotaryDimOf(this.#config), theta, scaling }, length)
  }

  #fixedFrequencies(): Buffer {
    const value = (): Tensor => frequencyTable(this.#frequencies(0).frequencies)
    return new Buffer([rotaryDimOf(this.#config) / 2], { persistent: false, role: 'attention', value })
  }
}
