// What the model files of encoder-decoders offer to the rest, and shapes and names that they share.

import { z } from 'zod'
import type { CheckpointPiece, ModelFile, NamedShapes, ParameterShapes } from './architecture.ts'
import { wholePieces } from './architecture.ts'
import type { EncoderDecoderConfig, EncoderDecoderLM, Side } from './encoder-decoder.ts'

/** An encoder-decoder type, as `model_type` in config.json names it. */
export interface EncoderDecoderArchitecture<C extends EncoderDecoderConfig = EncoderDecoderConfig>
  extends ModelFile<C, EncoderDecoderLM> {
  /** Elements of a layer that one token does not use: those of the experts beyond the K chosen. */
  inactiveParameters(config: C, side: Side, layer: number): number
  layers(config: C): Record<Side, number>
  /** Width of all heads of an attention together. */
  attentionWidth(config: C): number
}

const tokenId = z.int().nonnegative()

/** Fields of special tokens, by what transformers takes for one that is left out. */
export function specialTokenFields(ids: { pad: number; eos: number; bos: number | null; start: number }) {
  return {
    pad_token_id: tokenId.default(ids.pad),
    eos_token_id: z
      .union([tokenId, z.array(tokenId)])
      .nullable()
      .default(ids.eos),
    bos_token_id: tokenId.nullable().default(ids.bos),
    decoder_start_token_id: tokenId.default(ids.start),
  } as const
}

export interface EncoderDecoderShapeOptions {
  layers: Record<Side, number>
  attention: NamedShapes
  norm: NamedShapes
  feedForward(side: Side, layer: number): NamedShapes
  /** Of the relative position bias of each side; default: none. */
  positionBias?: number[]
}

export function encoderDecoderShapes(
  config: EncoderDecoderConfig,
  { layers, attention, norm, feedForward, positionBias }: EncoderDecoderShapeOptions,
): ParameterShapes {
  const shapes: ParameterShapes = new Map([['shared.weight', [config.vocab_size, config.d_model]]])
  const add = (prefix: string, named: NamedShapes): void => {
    for (const [name, shape] of Object.entries(named)) shapes.set(`${prefix}.${name}`, shape)
  }
  for (const side of ['encoder', 'decoder'] as const) {
    for (let i = 0; i < layers[side]; i++) {
      const layer = `${side}.layers.${i}`
      add(`${layer}.self_attn`, attention)
      add(`${layer}.self_attn_layer_norm`, norm)
      if (side === 'decoder') {
        add(`${layer}.cross_attention`, attention)
        add(`${layer}.cross_attention_layer_norm`, norm)
      }
      add(`${layer}.ffn`, feedForward(side, i))
      add(`${layer}.ff_layer_norm`, norm)
    }
    add(`${side}.layer_norm`, norm)
    if (positionBias) shapes.set(`${side}.position_bias.weight`, positionBias)
  }
  if (!config.tie_word_embeddings) shapes.set('lm_head.weight', [config.vocab_size, config.d_model])
  return shapes
}

/**
 * The pieces of a model whose files hold experts one by one, as `EXPERTS.expert_0.WI.weight`.
 *
 * @param publishedName the file's name of a path in memory
 * @param matrices the file's names of an expert's matrices
 */
export function perExpertPieces(
  shapes: ParameterShapes,
  publishedName: (path: string) => string,
  matrices: Readonly<Record<string, string>>,
): CheckpointPiece[] {
  return wholePieces(shapes).flatMap((piece): CheckpointPiece[] => {
    const [, folder = '', matrix = '', bias] =
      /^(.+\.experts)\.(up_proj|down_proj)(_bias)?$/.exec(piece.name) ?? []
    if (folder === '') return [{ ...piece, name: publishedName(piece.name) }]
    const [experts = 0, ...shape] = piece.shape
    return Array.from({ length: experts }, (_, index) => ({
      name: `${publishedName(folder)}.expert_${index}.${matrices[matrix]}.${bias ? 'bias' : 'weight'}`,
      shape,
      parameter: piece.parameter,
      index,
    }))
  })
}
