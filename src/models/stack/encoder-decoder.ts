// An encoder-decoder transformer: what Switch and NLLB share.
// Shapes: N tokens of B sequences, D model, V vocabulary, H heads, T new tokens of a sequence, S with the earlier ones.

import type { LayerContext } from '../../moe/index.ts'
import {
  type AttentionInput,
  type CacheShape,
  Dropout,
  Embedding,
  type KvCache,
  Linear,
  linearBy,
  type MemoryAttention,
  Module,
  type SourceStore,
} from '../../nn/index.ts'
import { type Device, type DType, noGrad, type Tensor, tidy } from '../../torch/index.ts'
import type { EncoderDecoderConfig } from './config.ts'
import type { ForwardOptions, ForwardOutput } from './language-model.ts'
import { addFeedForward, type FeedForward, type LayerOutput, type LayerRouting, runLayers } from './layers.ts'
import { headLoss, meanLoss, targetMargin, tokenLosses } from './loss.ts'
import type { EncoderDecoderParts, Norm, PositionBias, Side } from './parts.ts'
import { rowsAt, type Tokens } from './tokens.ts'

/** A source text as the decoder sees it. */
export interface EncodedSource extends Disposable {
  /** Of each decoder layer. */
  stores: SourceStore[]
  routings: LayerRouting[]
}

/**
 * `h = x + attention(norm(x))`, in a decoder `h + attention(norm(h), source)`, then `h + feedForward(norm(h))`; dropout is of what is
 * added.
 */
export class Layer extends Module {
  readonly self_attn: MemoryAttention
  readonly self_attn_layer_norm: Norm
  readonly cross_attention: MemoryAttention | null
  readonly cross_attention_layer_norm: Norm | null
  readonly ffn: FeedForward
  readonly ff_layer_norm: Norm
  readonly dropout = new Dropout(0)

  constructor(side: Side, layer: number, parts: EncoderDecoderParts) {
    super()
    this.self_attn = parts.attention()
    this.self_attn_layer_norm = parts.norm()
    this.cross_attention = side === 'decoder' ? parts.attention() : null
    this.cross_attention_layer_norm = side === 'decoder' ? parts.norm() : null
    this.ffn = parts.feedForward(side, layer)
    this.ff_layer_norm = parts.norm()
  }

  /** x [N, D] -> [N, D] */
  forward(x: Tensor, attention: AttentionInput, tokens: LayerContext, source?: SourceStore): LayerOutput {
    const { dropout } = this
    let h = x.add(dropout.forward(this.self_attn.forward(this.self_attn_layer_norm.forward(x), attention)))
    if (source && this.cross_attention && this.cross_attention_layer_norm) {
      const asked = this.cross_attention_layer_norm.forward(h)
      h = h.add(dropout.forward(this.cross_attention.across(asked, source, attention.starts)))
    }
    return addFeedForward(h, this.ffn, this.ff_layer_norm.forward(h), tokens, { dropout })
  }
}

/** One side: layers, and a norm of what they give. */
export class Stack extends Module {
  readonly layers: Layer[]
  readonly layer_norm: Norm
  readonly position_bias: PositionBias | null
  /** Of token vectors. */
  readonly dropout = new Dropout(0)
  readonly #side: Side
  readonly #firstLayer: number

  constructor(side: Side, parts: EncoderDecoderParts) {
    super()
    this.#side = side
    this.#firstLayer = side === 'encoder' ? 0 : parts.layers.encoder
    this.layers = Array.from({ length: parts.layers[side] }, (_, layer) => new Layer(side, layer, parts))
    this.layer_norm = parts.norm()
    this.position_bias = parts.positionBias?.(side) ?? null
  }

  /** Runs the layers on x [N, D], which is given up. */
  forward(
    x: Tensor,
    { ids, starts }: Tokens,
    { cache, source }: { cache?: KvCache | undefined; source?: EncodedSource } = {},
  ): { hidden: Tensor; routings: LayerRouting[] } {
    using biases = new Biases(this.position_bias)
    const input = {
      ...{ starts, rotation: null, window: null, isCausal: this.#side === 'decoder' },
      bias: this.position_bias && ((past: number, length: number) => biases.of(past, length)),
    }
    const run = (layer: Layer, hidden: Tensor, i: number): LayerOutput =>
      layer.forward(hidden, { ...input, store: cache?.layers[i] }, { ids, starts }, source?.stores[i])
    const { hidden, routings } = runLayers(this.layers, this.dropout.forward(x), run, this.#firstLayer)
    cache?.advance(starts)
    return { hidden: this.layer_norm.forward(hidden), routings }
  }
}

/** Biases of a side's scores, made once for all layers. */
class Biases {
  readonly #bias: PositionBias | null
  readonly #made = new Map<string, Tensor>()

  constructor(bias: PositionBias | null) {
    this.#bias = bias
  }

  /** [1, H, T, S] */
  of(past: number, length: number): Tensor {
    const key = `${past} ${length}`
    const made = this.#made.get(key) ?? (this.#bias as PositionBias).forward(length, past + length, past)
    if (!this.#made.has(key)) this.#made.set(key, made.persist())
    return made
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#made.values()) tensor.dispose()
  }
}

/** An encoder-decoder with a head that scores the target's next token. */
export class EncoderDecoderLM extends Module {
  readonly shared: Embedding // [V, D]
  readonly encoder: Stack
  readonly decoder: Stack
  /** [V, D]; null when the embedding is used for both. */
  readonly lm_head: Linear | null
  readonly config: EncoderDecoderConfig
  readonly initializerRange: number
  readonly #parts: EncoderDecoderParts

  constructor(config: EncoderDecoderConfig, parts: EncoderDecoderParts) {
    super()
    this.config = config
    this.initializerRange = parts.initializerRange
    this.#parts = parts
    this.shared = new Embedding(
      config.vocab_size,
      config.d_model,
      parts.paddingIndex === undefined ? {} : { paddingIndex: parts.paddingIndex },
    )
    this.encoder = new Stack('encoder', parts)
    this.decoder = new Stack('decoder', parts)
    this.lm_head = config.tie_word_embeddings
      ? null
      : new Linear(config.d_model, config.vocab_size, { bias: false, role: 'head' })
  }

  /** The token whose vector starts as 0 and gets no gradient where it is read; null: none. */
  get paddingIndex(): number | null {
    return this.#parts.paddingIndex ?? null
  }

  /** What attention keeps of each position of the target, by layer. */
  get cacheShapes(): CacheShape[] {
    return this.decoder.layers.map(layer => layer.self_attn.cacheShape)
  }

  get dtype(): DType {
    return this.encoder.layer_norm.weight.dtype // matrices may stay as files encode them
  }

  get device(): Device {
    return this.shared.weight.device
  }

  /** The encoder's and then the decoder's, which is how routings and selections count them. */
  get layers(): readonly Layer[] {
    return [...this.encoder.layers, ...this.decoder.layers]
  }

  /** The decoder's modules that read what the encoder gives: the keys and values of its attention to sources. */
  get sourceReaders(): Module[] {
    return this.decoder.layers.flatMap(({ cross_attention }) =>
      cross_attention ? [cross_attention.k_proj, cross_attention.v_proj] : [],
    )
  }

  /** What decode() reads of the sources. Its memory is the caller's. */
  encode(tokens: Tokens): EncodedSource {
    const { hidden, routings } = tidy(() => this.encoder.forward(this.#embed(tokens), tokens))
    const stores = this.decoder.layers.map(({ cross_attention }) =>
      (cross_attention as MemoryAttention).remember(hidden, tokens.starts),
    )
    const held = stores.flatMap(({ keys, values }) => [keys, values])
    const dispose = (): void => {
      for (const tensor of held) tensor.dispose()
    }
    return { stores, routings, [Symbol.dispose]: dispose }
  }

  /** New tokens of the targets, which begin with decoder_start_token_id; sequence b reads source b, or all the only one. */
  decode(
    tokens: Tokens,
    source: EncodedSource,
    { cache, logitsAt = 'all' }: ForwardOptions = {},
  ): ForwardOutput {
    return tidy(() => {
      const { hidden, routings } = this.decoder.forward(this.#embed(tokens), tokens, { cache, source })
      return { logits: this.#score(rowsAt(hidden, tokens, logitsAt)), routings }
    })
  }

  /** Both at once; routings of the encoder come first. */
  forward(source: Tokens, target: Tokens): ForwardOutput {
    return tidy(() => {
      const encoded = this.encode(source)
      const { logits, routings } = this.decode(target, encoded)
      return { logits, routings: [...encoded.routings, ...routings] }
    })
  }

  /**
   * Mean cross-entropy in nats of each target, given the source and the targets before it.
   *
   * @param target what the decoder reads: of each sequence decoder_start_token_id, then all targets but the last
   * @param targets i64 [N]: what each token of `target` is to predict; -100 where none counts
   */
  loss(
    source: Tokens,
    target: Tokens,
    targets: Tensor,
  ): { loss: Tensor; hidden: Tensor; routings: Record<Side, LayerRouting[]> } {
    return tidy(() => {
      const encoded = this.encode(source)
      const { hidden, routings } = this.decoder.forward(this.#embed(target), target, { source: encoded })
      const loss = this.#loss(hidden, targets)
      return { loss, hidden, routings: { encoder: encoded.routings, decoder: routings } }
    })
  }

  /** The cross-entropy of each target, [N], without a gradient; hidden states [N, D] as loss() has them. */
  tokenLosses(hidden: Tensor, targets: Tensor): Tensor {
    return noGrad(() => tidy(() => tokenLosses(this.#score(hidden), targets)))
  }

  /** By how much targets score above the mean of the vocabulary, on average: what label smoothing adds to loss(). */
  targetMargin(hidden: Tensor, targets: Tensor): Tensor {
    return tidy(() => targetMargin(this.#score(hidden), targets))
  }

  /** Lets routers adapt what no gradient trains; see Router.adapt(). */
  adapt(pace = 1): void {
    for (const { ffn } of this.layers) ffn.adapt?.(pace)
  }

  /** Lets routers forget a step that was dropped. */
  discard(): void {
    for (const { ffn } of this.layers) ffn.discard?.()
  }

  #embed(tokens: Tokens): Tensor {
    const vectors = this.shared.forward(tokens.ids)
    return this.#parts.embed?.(vectors, tokens) ?? vectors
  }

  #score(hidden: Tensor): Tensor {
    return this.lm_head?.forward(hidden) ?? linearBy(this.#scaled(hidden), this.shared.weight)
  }

  /** A head of its own may be more than a matrix, as adapters make it; an encoded one has no kernel. */
  #loss(hidden: Tensor, targets: Tensor): Tensor {
    if (this.lm_head === null && this.shared.weight.encoding === null)
      return headLoss(this.#scaled(hidden), this.shared.weight, targets)
    return meanLoss(this.#score(hidden), targets)
  }

  /** As a tied head wants it. */
  #scaled(hidden: Tensor): Tensor {
    const { headScale = 1 } = this.#parts
    return headScale === 1 ? hidden : hidden.mul(headScale)
  }
}
