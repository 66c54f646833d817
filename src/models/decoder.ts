// A stack of transformer layers: what Mixtral and its kin share, and encoders too, which look both ways. A model file adds
// the parts in which it differs.
// Shapes: B batch, T new positions, S positions with the cached ones, D model, V vocabulary.

import type { AnyRouting, LayerContext, MoeOutput, TokenRouting } from '../moe/index.ts'
import {
  Attention,
  type AttentionInput,
  type AttentionMask,
  type AttentionOptions,
  type CacheShape,
  Derived,
  Embedding,
  frequencyTable,
  type KeyValueStore,
  type LayerNorm,
  Linear,
  Module,
  normal,
  RMSNorm,
  type RotaryFrequencies,
  type Rotation,
  rotaryFrequencies,
  rotation,
  type SelfAttention,
} from '../nn/index.ts'
import {
  arange,
  type Device,
  type DType,
  hasKernel,
  linear,
  noGrad,
  recompute,
  Tensor,
  tidy,
} from '../torch/index.ts'
import { causalAttention, openAttention, paddedPositions } from './attended.ts'
import { type DecoderConfig, rotaryDimOf } from './config.ts'
import type { CachingModel } from './generation/cache.ts'
import { type GenerateOptions, generate, type StopReason } from './generation/generate.ts'
import { decoderSession, type Session, type SessionOptions } from './generation/session.ts'
import { decodesStatically, staticSession } from './generation/static-session.ts'
import { headLoss, tokenLosses } from './loss.ts'

/** The block after attention: a dense one returns its output alone, an MoE layer also its routing. */
export type FeedForward = Module & {
  forward(x: Tensor, tokens?: LayerContext): Tensor | MoeOutput<AnyRouting>
  /** See Router.adapt(). */
  adapt?(pace?: number): void
  /** See Router.discard(). */
  discard?(): void
}

/** What one MoE layer decided, and what capacity left of it. */
export interface LayerRouting {
  layer: number
  chosen: AnyRouting
  served: AnyRouting
}

/** What was decided in the layers in which each token chose experts. */
export function tokenRoutings(routings: readonly LayerRouting[]): TokenRouting[] {
  return routings.flatMap(({ chosen }) => (chosen.kind === 'token' ? chosen : []))
}

export interface ForwardInput {
  /** Keys and values of earlier calls, one store per layer; the new positions follow them. */
  cache?: KeyValueCache | undefined
  /** bool [B, S], false for padding, which in a decoder is left of the text. Default: no padding. */
  mask?: Tensor | null
  /** i64 [B, T]: where the new positions are, for a cache that itself knows what each may see. Default: counted. */
  positions?: Tensor | null
  /** i64 [B, T]: the task of each new position, for routers that go by it. */
  tasks?: Tensor | null
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

/** The parts in which models differ; what is left out is Mistral's. */
export interface DecoderParts {
  /** Whether a position sees nothing of later ones. Default: yes. */
  isCausal?: boolean
  feedForward(layer: number): FeedForward
  /** Default: grouped-query attention as the config has it, without biases. */
  attention?(layer: number): SelfAttention
  /** Default: an RMS norm. */
  norm?(): RMSNorm | LayerNorm
  /** Positions that a layer looks back on; null: all. Default: the config's sliding_window. */
  window?(layer: number): number | null
  /** Factors of the embeddings, of both branches of a layer, and of the logits. Default: 1 each. */
  scales?: { embedding: number; residual: number; logits: number }
  /** Whether the head has a bias. Default: no. */
  headBias?: boolean
}

type LayerOutput = { hidden: Tensor } & Partial<Omit<LayerRouting, 'layer'>>

/** `h = x + s attention(norm(x))`, then `h + s feedForward(norm(h))`; `s` is 1 in most models. */
export class DecoderLayer extends Module {
  readonly input_layernorm: RMSNorm | LayerNorm
  readonly self_attn: SelfAttention
  readonly post_attention_layernorm: RMSNorm | LayerNorm
  readonly mlp: FeedForward
  readonly #residual: number

  constructor(layer: number, parts: Required<DecoderParts>) {
    super()
    this.input_layernorm = parts.norm()
    this.self_attn = parts.attention(layer)
    this.post_attention_layernorm = parts.norm()
    this.mlp = parts.feedForward(layer)
    this.#residual = parts.scales.residual
  }

  /** x [B, T, D]; `tokens` has ids i64 [B, T], and a mask bool [B, T] of the real ones. */
  forward(x: Tensor, attention: AttentionInput, tokens: LayerContext): LayerOutput {
    const h = x.add(this.self_attn.forward(this.input_layernorm.forward(x), attention), this.#residual)
    const output = this.mlp.forward(this.post_attention_layernorm.forward(h), tokens)
    if (output instanceof Tensor) return { hidden: h.add(output, this.#residual) }
    return { hidden: h.add(output.y, this.#residual), chosen: output.routing, served: output.served }
  }
}

/** Nothing, or each layer as a whole, of which backward keeps the input alone; see recompute(). */
export type Recompute = 'none' | 'layers'

/** Embedding, layers and final norm, under the checkpoint path `model`. */
export class Decoder extends Module {
  readonly embed_tokens: Embedding // [V, D]
  readonly layers: DecoderLayer[]
  readonly norm: RMSNorm | LayerNorm
  /** What training computes again in backward instead of keeping it. May be changed at any time. */
  recompute: Recompute = 'none'
  /** f32 [R / 2]; null when they depend on the length of the text. */
  readonly inv_freq: Derived | null
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
    this.inv_freq = depends ? null : new Derived(frequencyTable(this.#frequencies(0).frequencies))
  }

  /** ids i64 [B, T] -> hidden states [B, T, D] */
  forward(ids: Tensor, input: ForwardInput): { hidden: Tensor; routings: LayerRouting[] } {
    const { cache, mask = null, tasks = null } = input
    const past = cache?.length ?? 0
    const rotation = this.#rotation(ids, past, input)
    const maskOf = this.#masks(ids, past, input)
    const real = mask === null ? null : mask.narrow(1, mask.size(1) - ids.size(1), ids.size(1)) // [B, T]
    const routings: LayerRouting[] = []
    let hidden = this.#embed(ids) // [B, T, D]
    for (const [i, layer] of this.layers.entries()) {
      // One scope per layer: the temporaries of all layers at once would be the peak of memory.
      const output = tidy(() =>
        this.#run(layer, [
          hidden,
          { rotation, mask: maskOf(this.#parts.window(i)), cache: cache?.layers[i] },
          { mask: real, ids, tasks },
        ]),
      )
      hidden.dispose()
      hidden = output.hidden
      if (output.chosen)
        routings.push({ layer: i, chosen: output.chosen, served: output.served ?? output.chosen })
    }
    return { hidden: this.norm.forward(hidden), routings }
  }

  /** A layer that appends to a cache cannot run twice. */
  #run(layer: DecoderLayer, input: Parameters<DecoderLayer['forward']>): LayerOutput {
    const forward = (...again: typeof input): LayerOutput => layer.forward(...again)
    const isRepeatable = this.recompute === 'layers' && input[1].cache === undefined
    return isRepeatable ? recompute(forward, input) : forward(...input)
  }

  #embed(ids: Tensor): Tensor {
    const { embedding } = this.#parts.scales
    const vectors = this.embed_tokens.forward(ids)
    return embedding === 1 ? vectors : vectors.mul(embedding)
  }

  /** Angles, the same for every layer. */
  #rotation(ids: Tensor, past: number, { mask = null, positions = null }: ForwardInput): Rotation {
    const [length, device] = [ids.size(1), ids.device]
    const { frequencies, scale } = this.#frequencies(past + length)
    return noGrad(() =>
      tidy(() => {
        const counted = (): Tensor =>
          mask === null ? arange(past, past + length, 1, { device }) : paddedPositions(mask, length)
        return rotation(positions ?? counted(), this.inv_freq ?? frequencies, scale)
      }),
    )
  }

  #frequencies(length: number): RotaryFrequencies {
    const { rope_theta: theta, rope_scaling: scaling } = this.#config
    return rotaryFrequencies({ dim: rotaryDimOf(this.#config), theta, scaling }, length)
  }

  /** What each layer may see, by its window; layers of one window share a mask. */
  #masks(
    ids: Tensor,
    past: number,
    { mask = null, positions }: ForwardInput,
  ): (window: number | null) => AttentionMask {
    if (positions) return window => ({ kind: 'causal', window })
    const known = new Map<number | null, AttentionMask>()
    const windows = new Set(this.layers.map((_, i) => this.#parts.window(i)))
    const maskOf = (window: number | null): AttentionMask =>
      this.#parts.isCausal ? causalAttention(ids, past, mask, window) : openAttention(mask)
    for (const window of windows) known.set(window, maskOf(window))
    return window => known.get(window) ?? maskOf(window)
  }
}

/** What grouped-query attention takes from a config. */
export function attentionSizes(config: DecoderConfig): Required<AttentionSizes> {
  return {
    hiddenSize: config.hidden_size,
    numHeads: config.num_attention_heads,
    numKeyValueHeads: config.num_key_value_heads,
    headDim: config.head_dim,
  }
}

type AttentionSizes = Pick<AttentionOptions, 'hiddenSize' | 'numHeads' | 'numKeyValueHeads' | 'headDim'>

function completed(config: DecoderConfig, parts: DecoderParts): Required<DecoderParts> {
  return {
    attention: () => new Attention(attentionSizes(config)),
    norm: () => new RMSNorm(config.hidden_size, config.rms_norm_eps),
    window: () => config.sliding_window,
    scales: { embedding: 1, residual: 1, logits: 1 },
    headBias: false,
    isCausal: true,
    ...parts,
  }
}

/** A stack of layers with a head that scores tokens at each position. */
export class LanguageModel extends Module {
  readonly model: Decoder
  /** [V, D]; null when the embedding is used for both. */
  readonly lm_head: Linear | null
  readonly config: DecoderConfig
  readonly #logitScale: number

  constructor(config: DecoderConfig, given: DecoderParts) {
    super()
    const parts = completed(config, given)
    this.config = config
    this.model = new Decoder(config, parts)
    this.lm_head = config.tie_word_embeddings
      ? null
      : new Linear(config.hidden_size, config.vocab_size, { bias: parts.headBias })
    this.#logitScale = parts.scales.logits
    this.#initialize(config)
  }

  get dtype(): DType {
    return this.model.norm.weight.dtype
  }

  get device(): Device {
    return this.model.norm.weight.device
  }

  /** ids i64 [B, T] */
  forward(ids: Tensor, input: ForwardInput = {}): ForwardOutput {
    return tidy(() => {
      const { hidden, routings } = this.model.forward(ids, input)
      return { logits: linear(this.#scaled(hidden), this.#head, this.lm_head?.bias), routings }
    })
  }

  /**
   * Mean cross-entropy in nats of each target.
   *
   * @param ids i64 [B, T]
   * @param targets i64 [B, T]: what each position is to predict; -100 where none counts
   */
  loss(
    ids: Tensor,
    targets: Tensor,
    input: Pick<ForwardInput, 'tasks'> = {},
  ): { loss: Tensor; hidden: Tensor; routings: LayerRouting[] } {
    return tidy(() => {
      const { hidden, routings } = this.model.forward(ids, input)
      const loss = headLoss(this.#scaled(hidden), this.#head, targets, this.lm_head?.bias)
      return { loss, hidden, routings }
    })
  }

  /** The cross-entropy of each next token, [B*T], without a gradient; hidden states [B, T, D] as loss() has them. */
  tokenLosses(hidden: Tensor, targets: Tensor): Tensor {
    return noGrad(() =>
      tidy(() => tokenLosses(linear(this.#scaled(hidden), this.#head, this.lm_head?.bias), targets)),
    )
  }

  /** Scaled before the head, which is smaller than its logits. */
  #scaled(hidden: Tensor): Tensor {
    return this.#logitScale === 1 ? hidden : hidden.mul(this.#logitScale)
  }

  /** [V, D] */
  get #head(): Tensor {
    return this.lm_head?.weight ?? this.model.embed_tokens.weight
  }

  /** Lets routers adapt what no gradient trains; see Router.adapt(). */
  adapt(pace = 1): void {
    for (const { mlp } of this.model.layers) mlp.adapt?.(pace)
  }

  /** Lets routers forget a step that was dropped. */
  discard(): void {
    for (const { mlp } of this.model.layers) mlp.discard?.()
  }

  /** Whether the matrix at a path starts normal, as HF has all of them, or as its layer has it. */
  startsNormal(_path: string): boolean {
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

/** A decoder: each position scores the next token. */
export class CausalLM extends LanguageModel implements CachingModel {
  /** What attention keeps of each position, by layer. */
  get cacheShapes(): CacheShape[] {
    return this.model.layers.map(layer => layer.self_attn.cacheShape)
  }

  startSession(options: SessionOptions): Session {
    // To make a graph takes about as long as some steps.
    const isWorthIt = this.device !== 'cpu' && options.newTokens > 8 && options.task === undefined
    const hasKernels = hasKernel('attention', this.model.norm.weight)
    return isWorthIt && hasKernels && decodesStatically(this)
      ? staticSession(this, options)
      : decoderSession(this, options)
  }

  /** Continues a prompt, one id at a time; see generate(). */
  generate(prompt: readonly number[], options?: GenerateOptions): AsyncGenerator<number, StopReason> {
    return generate(this, prompt, options)
  }
}
