// A stack of layers with a head that scores tokens: decoders, which score the next one, and encoders, which fill in.
// Shapes: N new tokens of B sequences, M of them whose logits are wanted, D model, V vocabulary.

import { type CacheShape, type KvCache, Linear, linearBy, Module, type Role } from '../../nn/index.ts'
import { type Device, type DType, noGrad, type Tensor, tidy } from '../../torch/index.ts'
import type { DecoderConfig, EncoderConfig } from './config.ts'
import { Decoder } from './decoder.ts'
import type { LayerRouting } from './layers.ts'
import { headLoss, headMargin, meanLoss, targetMargin, tokenLosses } from './loss.ts'
import type { DecoderParts } from './parts.ts'
import { type LogitsAt, rowsAt, type Tokens } from './tokens.ts'

export interface ForwardOptions {
  /** What is kept of earlier tokens, which the new ones follow. Default: there are none. */
  cache?: KvCache | undefined
  /** Of which tokens logits are wanted. Default: all. */
  logitsAt?: LogitsAt
}

export interface ForwardOutput {
  /** [M, V] */
  logits: Tensor
  routings: LayerRouting[]
}

/** A stack of layers with a head that scores tokens at each position. */
export class LanguageModel extends Module {
  readonly model: Decoder
  /** [V, D]; null when the embedding is used for both. */
  readonly lm_head: Linear | null
  readonly config: DecoderConfig
  /** Roles whose matrices start as their own files say; see startWeights(). */
  readonly ownStart: readonly Role[]
  readonly #logitScale: number

  constructor(config: DecoderConfig, parts: Required<DecoderParts>) {
    super()
    this.config = config
    this.ownStart = parts.ownStart
    this.model = new Decoder(config, parts)
    this.lm_head = config.tie_word_embeddings
      ? null
      : new Linear(config.hidden_size, config.vocab_size, { bias: parts.headBias, role: 'head' })
    this.#logitScale = parts.scales.logits
  }

  get dtype(): DType {
    return this.model.norm.weight.dtype
  }

  get device(): Device {
    return this.model.norm.weight.device
  }

  /** Logits of the tokens, what each layer of experts decided, and the hidden states [N, D] of all tokens. */
  forward(
    tokens: Tokens,
    { cache, logitsAt = 'all' }: ForwardOptions = {},
  ): ForwardOutput & { hidden: Tensor } {
    return tidy(() => {
      const { hidden, routings } = this.model.forward(tokens, cache)
      return { logits: this.#score(rowsAt(hidden, tokens, logitsAt)), hidden, routings }
    })
  }

  /**
   * Mean cross-entropy in nats of each target.
   *
   * @param targets i64 [N]: what each token is to predict; -100 where none counts
   */
  loss(tokens: Tokens, targets: Tensor): { loss: Tensor; hidden: Tensor; routings: LayerRouting[] } {
    return tidy(() => {
      const { hidden, routings } = this.model.forward(tokens)
      return { loss: this.#loss(hidden, targets), hidden, routings }
    })
  }

  /** loss(), one for each target: [N]. The logits of all tokens are in memory. */
  lossOfEach(tokens: Tokens, targets: Tensor): { losses: Tensor; hidden: Tensor; routings: LayerRouting[] } {
    return tidy(() => {
      const { hidden, routings } = this.model.forward(tokens)
      return { losses: tokenLosses(this.#score(hidden), targets), hidden, routings }
    })
  }

  /** The cross-entropy of each target, [N], without a gradient; hidden states [N, D] as loss() has them. */
  tokenLosses(hidden: Tensor, targets: Tensor): Tensor {
    return noGrad(() => tidy(() => tokenLosses(this.#score(hidden), targets)))
  }

  /** By how much targets score above the mean of the vocabulary, on average: what label smoothing adds to loss(). */
  targetMargin(hidden: Tensor, targets: Tensor): Tensor {
    return tidy(() => {
      const head = this.#plainHead
      return head === null
        ? targetMargin(this.#score(hidden), targets)
        : headMargin(this.#scaled(hidden), head.weight, targets, head.bias)
    })
  }

  #score(hidden: Tensor): Tensor {
    const scaled = this.#scaled(hidden)
    return this.lm_head?.forward(scaled) ?? linearBy(scaled, this.model.embed_tokens.weight)
  }

  #loss(hidden: Tensor, targets: Tensor): Tensor {
    const head = this.#plainHead
    return head === null
      ? meanLoss(this.#score(hidden), targets)
      : headLoss(this.#scaled(hidden), head.weight, targets, head.bias)
  }

  /**
   * The head as a matrix [V, D]. Null when it is more than that, as a module of replaceModules() in its place, and when it is
   * encoded, for which there is no kernel.
   */
  get #plainHead(): { weight: Tensor; bias: Tensor | null } | null {
    const head: Module | null = this.lm_head
    const plain = head?.constructor === Linear ? (head as Linear) : null
    const weight = plain?.weight ?? this.model.embed_tokens.weight
    return head !== plain || weight.encoding !== null ? null : { weight, bias: plain?.bias ?? null }
  }

  /** Scaled before the head, which is smaller than its logits. */
  #scaled(hidden: Tensor): Tensor {
    return this.#logitScale === 1 ? hidden : hidden.mul(this.#logitScale)
  }

  get layers(): Decoder['layers'] {
    return this.model.layers
  }

  /** Lets routers adapt what no gradient trains; see Router.adapt(). */
  adapt(pace = 1): void {
    for (const { mlp } of this.layers) mlp.adapt?.(pace)
  }

  /** Lets routers forget a step that was dropped. */
  discard(): void {
    for (const { mlp } of this.layers) mlp.discard?.()
  }
}

/** A decoder: each position scores the next token. */
export class CausalLM extends LanguageModel {
  /** What attention keeps of each position, by layer. */
  get cacheShapes(): CacheShape[] {
    return this.model.layers.map(layer => layer.self_attn.cacheShape)
  }

  /** Whether it can decode where only the device knows how long texts are: see StaticCache. */
  get decodesStatically(): boolean {
    const { inv_freq, onTokens, layers } = this.model
    return inv_freq !== null && onTokens === null && layers.every(layer => layer.self_attn.decodesStatically)
  }
}

/** An encoder with a head that scores, at each masked position, the token that was there. */
export class MaskedLM extends LanguageModel {
  readonly maskTokenId: number

  constructor(config: EncoderConfig, parts: Required<DecoderParts>) {
    super(config, { ...parts, isCausal: false, window: () => null })
    this.maskTokenId = config.mask_token_id
  }
}
