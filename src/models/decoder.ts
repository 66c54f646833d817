// A decoder-only transformer: what Mistral, Mixtral and their kin share. A model file adds the feed-forward.
// Shapes: B batch, T new positions, S positions with the cached ones, D model, V vocabulary.

import type { LayerContext, MoeOutput, TokenRouting } from '../moe/index.ts'
import {
  Attention,
  type AttentionInput,
  causalMask,
  Embedding,
  type KeyValueStore,
  Linear,
  Module,
  normal,
  RMSNorm,
  rotation,
} from '../nn/index.ts'
import { arange, linear, noGrad, Tensor, tidy } from '../torch/index.ts'
import type { DecoderConfig } from './config.ts'
import { headLoss } from './loss.ts'

/** The block after attention: a dense one returns its output alone, an MoE layer also its routing. */
export type FeedForward = Module & {
  forward(x: Tensor, tokens?: LayerContext): Tensor | MoeOutput
  /** See Router.adapt(). */
  adapt?(): void
  /** See Router.discard(). */
  discard?(): void
}

/** What one MoE layer's router decided, and what capacity left of it. */
export interface LayerRouting {
  layer: number
  chosen: TokenRouting
  served: TokenRouting
}

export interface ForwardInput {
  /** Keys and values of earlier calls, one store per layer; the new positions follow them. */
  cache?: KeyValueCache | undefined
  /** bool [B, S], false for padding; padding is left of the text. Default: no padding. */
  mask?: Tensor | null
}

export interface ForwardOutput {
  /** [B, T, V] */
  logits: Tensor
  routings: LayerRouting[]
}

/** Cached keys and values of all layers. */
export interface KeyValueCache {
  /** Positions stored so far. */
  readonly length: number
  readonly layers: readonly KeyValueStore[]
}

type LayerOutput = { hidden: Tensor } & Partial<Omit<LayerRouting, 'layer'>>

/** `h = x + attention(norm(x))`, then `h + feedForward(norm(h))`. */
export class DecoderLayer extends Module {
  readonly input_layernorm: RMSNorm
  readonly self_attn: Attention
  readonly post_attention_layernorm: RMSNorm
  readonly mlp: FeedForward

  constructor(config: DecoderConfig, mlp: FeedForward) {
    super()
    this.input_layernorm = new RMSNorm(config.hidden_size, config.rms_norm_eps)
    this.self_attn = new Attention({
      hiddenSize: config.hidden_size,
      numHeads: config.num_attention_heads,
      numKeyValueHeads: config.num_key_value_heads,
      headDim: config.head_dim,
    })
    this.post_attention_layernorm = new RMSNorm(config.hidden_size, config.rms_norm_eps)
    this.mlp = mlp
  }

  /** x [B, T, D]; `tokens` has ids i64 [B, T], and a mask bool [B, T] of the real ones. */
  forward(x: Tensor, attention: AttentionInput, tokens: LayerContext): LayerOutput {
    const h = x.add(this.self_attn.forward(this.input_layernorm.forward(x), attention))
    const output = this.mlp.forward(this.post_attention_layernorm.forward(h), tokens)
    if (output instanceof Tensor) return { hidden: h.add(output) }
    return { hidden: h.add(output.y), chosen: output.routing, served: output.served }
  }
}

/** Embedding, layers and final norm, under the checkpoint path `model`. */
export class Decoder extends Module {
  readonly embed_tokens: Embedding // [V, D]
  readonly layers: DecoderLayer[]
  readonly norm: RMSNorm
  readonly #config: DecoderConfig

  constructor(config: DecoderConfig, makeFeedForward: (layer: number) => FeedForward) {
    super()
    const padding = config.pad_token_id === null ? {} : { paddingIndex: config.pad_token_id }
    this.embed_tokens = new Embedding(config.vocab_size, config.hidden_size, padding)
    this.layers = Array.from(
      { length: config.num_hidden_layers },
      (_, i) => new DecoderLayer(config, makeFeedForward(i)),
    )
    this.norm = new RMSNorm(config.hidden_size, config.rms_norm_eps)
    this.#config = config
  }

  /** ids i64 [B, T] -> hidden states [B, T, D] */
  forward(ids: Tensor, { cache, mask = null }: ForwardInput): { hidden: Tensor; routings: LayerRouting[] } {
    const attention = this.#attentionInput(ids, cache?.length ?? 0, mask)
    const real = mask === null ? null : mask.narrow(1, mask.size(1) - ids.size(1), ids.size(1)) // [B, T]
    const routings: LayerRouting[] = []
    let hidden = this.embed_tokens.forward(ids) // [B, T, D]
    for (const [i, layer] of this.layers.entries()) {
      // One scope per layer: the temporaries of all layers at once would be the peak of memory.
      const output = tidy(() =>
        layer.forward(hidden, { ...attention, cache: cache?.layers[i] }, { mask: real, ids }),
      )
      hidden.dispose()
      hidden = output.hidden
      if (output.chosen)
        routings.push({ layer: i, chosen: output.chosen, served: output.served ?? output.chosen })
    }
    return { hidden: this.norm.forward(hidden), routings }
  }

  /** Angles and mask, the same for every layer. */
  #attentionInput(ids: Tensor, past: number, mask: Tensor | null): AttentionInput {
    const { head_dim, rope_theta, sliding_window: window } = this.#config
    const [length, device] = [ids.size(1), ids.device]
    return noGrad(() =>
      tidy(() => {
        const positions =
          mask === null ? arange(past, past + length, 1, { device }) : paddedPositions(mask, length)
        const angles = rotation(positions, head_dim, rope_theta)
        if (past === 0 && mask === null) return { rotation: angles, mask: { kind: 'causal', window } }
        const causal = causalMask(length, { past, window, device })
        const padding = mask === null ? null : mask.logicalNot().unsqueeze(1).unsqueeze(1) // [B, 1, 1, S]
        const blocked = causal && padding ? causal.logicalOr(padding) : (causal ?? padding)
        return { rotation: angles, mask: { kind: 'blocked', blocked } }
      }),
    )
  }
}

/** [B, T]: positions count real tokens only, so that left padding does not shift them. */
function paddedPositions(mask: Tensor, length: number): Tensor {
  const counted = mask.long().cumsum(1).sub(1).clamp(0)
  return counted.narrow(1, mask.size(1) - length, length)
}

/** A decoder with a head that scores the next token. */
export class CausalLM extends Module {
  readonly model: Decoder
  /** [V, D]; null when the embedding is used for both. */
  readonly lm_head: Linear | null
  readonly config: DecoderConfig

  constructor(config: DecoderConfig, makeFeedForward: (layer: number) => FeedForward) {
    super()
    this.config = config
    this.model = new Decoder(config, makeFeedForward)
    this.lm_head = config.tie_word_embeddings
      ? null
      : new Linear(config.hidden_size, config.vocab_size, { bias: false })
    this.#initialize(config)
  }

  /** ids i64 [B, T] */
  forward(ids: Tensor, input: ForwardInput = {}): ForwardOutput {
    return tidy(() => {
      const { hidden, routings } = this.model.forward(ids, input)
      return { logits: linear(hidden, this.#head), routings }
    })
  }

  /**
   * Mean cross-entropy in nats of each next token.
   *
   * @param ids i64 [B, T]
   * @param targets i64 [B, T]: the token after each position; -100 where none counts
   */
  loss(ids: Tensor, targets: Tensor): { loss: Tensor; routings: LayerRouting[] } {
    return tidy(() => {
      const { hidden, routings } = this.model.forward(ids, {})
      return { loss: headLoss(hidden, this.#head, targets), routings }
    })
  }

  /** [V, D] */
  get #head(): Tensor {
    return this.lm_head?.weight ?? this.model.embed_tokens.weight
  }

  /** Lets routers adapt what no gradient trains. After each optimizer step. */
  adapt(): void {
    for (const { mlp } of this.model.layers) mlp.adapt?.()
  }

  /** Lets routers forget a step that was dropped. */
  discard(): void {
    for (const { mlp } of this.model.layers) mlp.discard?.()
  }

  /** Whether the matrix at a path starts normal, as HF has all of them. */
  protected startsNormal(_path: string): boolean {
    return true
  }

  /** As HF does: every matrix normal with `initializer_range`, norms one, and the padding token's row zero. */
  #initialize({ initializer_range: std, pad_token_id: padding }: DecoderConfig): void {
    for (const [path, parameter] of this.namedParameters()) {
      if (parameter.ndim > 1 && this.startsNormal(path)) normal(parameter, std)
    }
    if (padding !== null)
      noGrad(() => tidy(() => void this.model.embed_tokens.weight.select(0, padding).zero_()))
  }
}
