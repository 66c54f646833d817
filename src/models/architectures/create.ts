// Models from their configs: with memory and initial values, or as declarations alone.

import { declared } from '../../nn/index.ts'
import { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import { CausalLM, type LanguageModel, MaskedLM } from '../stack/language-model.ts'
import { type Build, completeParts, standardBuild } from '../stack/parts.ts'
import { type Start, startWeights } from '../stack/start.ts'
import type { CheckpointPiece, Declarations } from './architecture.ts'
import { wholePieces } from './published-names.ts'
import {
  type AnyModelConfig,
  architectureOf,
  type DecoderModelConfig,
  decoderArchitectureOf,
  type EncoderDecoderModelConfig,
  type EncoderModelConfig,
  encoderDecoderArchitectureOf,
  isDecoder,
  isEncoderDecoder,
  type ModelConfig,
} from './table.ts'

export type AnyModel = CausalLM | MaskedLM | EncoderDecoderLM

/** The model of a config. */
export type ModelOf<C extends AnyModelConfig> = C extends DecoderModelConfig
  ? CausalLM
  : C extends EncoderModelConfig
    ? MaskedLM
    : C extends EncoderDecoderModelConfig
      ? EncoderDecoderLM
      : never

/**
 * A fresh model, with initial values as HF draws them.
 *
 * @param build what parts are made with; default: as published
 */
export function createModel<C extends AnyModelConfig>(config: C, build?: Build): ModelOf<C> {
  const model = assemble(config, build)
  startWeights(model, startOfModel(model))
  return model as ModelOf<C>
}

/** How a model's weights start. */
export function startOfModel(model: AnyModel): Start {
  if (model instanceof EncoderDecoderLM) {
    const { initializerRange: std, shared, paddingIndex: padding } = model
    return { std, table: shared.weight, padding }
  }
  const { initializer_range: std, pad_token_id: padding } = model.config
  return { std, table: model.model.embed_tokens.weight, padding, ownStart: model.ownStart }
}

/** A model whose tensors are declarations: what is known of it without memory and without native code. */
export function declareModel<C extends AnyModelConfig>(config: C, build?: Build): ModelOf<C> {
  return declared(() => assemble(config, build)) as ModelOf<C>
}

function assemble(config: AnyModelConfig, build: Build = standardBuild()): AnyModel {
  if (isEncoderDecoder(config))
    return new EncoderDecoderLM(config, encoderDecoderArchitectureOf(config).parts(config, build))
  return assembleStack(config, build)
}

function assembleStack(config: ModelConfig, build: Build): LanguageModel & AnyModel {
  const parts = completeParts(config, build, decoderArchitectureOf(config).parts(config, build))
  return isDecoder(config) ? new CausalLM(config, parts) : new MaskedLM(config, parts)
}

/** What is known of a model's tensors from its config alone. */
export function declarationsOf(config: AnyModelConfig): Declarations {
  return declareModel(config).declarations()
}

/** How published files store a model's tensors. */
export function publishedPiecesOf(config: AnyModelConfig, declarations: Declarations): CheckpointPiece[] {
  return architectureOf(config).pieces?.(declarations) ?? wholePieces(declarations)
}
