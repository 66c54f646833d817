// Every model type that can be opened, by its `model_type`.

import { ConfigError } from '../errors.ts'
import type { Architecture, ModelFile } from './architecture.ts'
import type { CausalLM } from './decoder.ts'
import { type DeepseekV2Config, deepseekV2 } from './deepseek-v2.ts'
import { type DeepseekV3Config, deepseekV3 } from './deepseek-v3.ts'
import type { MaskedLM } from './encoder.ts'
import type { EncoderDecoderLM } from './encoder-decoder.ts'
import type { EncoderDecoderArchitecture } from './encoder-decoder-architecture.ts'
import { type Glm4MoeConfig, glm4Moe } from './glm4-moe.ts'
import { type GptOssConfig, gptOss } from './gpt-oss.ts'
import { type GraniteMoeConfig, graniteMoe } from './granitemoe.ts'
import { type MistralConfig, mistral } from './mistral.ts'
import { type MixtralConfig, mixtral } from './mixtral.ts'
import { type NllbMoeConfig, nllbMoe } from './nllb-moe.ts'
import { type OlmoeConfig, olmoe } from './olmoe.ts'
import { type PhimoeConfig, phimoe } from './phimoe.ts'
import { type Qwen2MoeConfig, qwen2Moe } from './qwen2-moe.ts'
import { type Qwen3MoeConfig, qwen3Moe } from './qwen3-moe.ts'
import { type SwitchTransformersConfig, switchTransformers } from './switch-transformers.ts'
import { type SwitchyardMoeConfig, switchyardMoe } from './switchyard-moe.ts'
import { type SwitchyardMoeEncoderConfig, switchyardMoeEncoder } from './switchyard-moe-encoder.ts'

/** The config of a decoder-only model. */
export type DecoderModelConfig =
  | MixtralConfig
  | MistralConfig
  | Qwen2MoeConfig
  | Qwen3MoeConfig
  | OlmoeConfig
  | DeepseekV2Config
  | DeepseekV3Config
  | GptOssConfig
  | GraniteMoeConfig
  | PhimoeConfig
  | Glm4MoeConfig
  | SwitchyardMoeConfig
/** The config of a model of one stack of layers, decoder or encoder. */
export type ModelConfig = DecoderModelConfig | SwitchyardMoeEncoderConfig
export type ModelType = ModelConfig['model_type']

type ModelOf<C> = C extends DecoderModelConfig ? CausalLM : MaskedLM
type ConfigOf<T> = Extract<ModelConfig, { model_type: T }>

const architectures: { [T in ModelType]: Architecture<ConfigOf<T>, ModelOf<ConfigOf<T>>> } = {
  mixtral,
  mistral,
  qwen2_moe: qwen2Moe,
  qwen3_moe: qwen3Moe,
  olmoe,
  deepseek_v2: deepseekV2,
  deepseek_v3: deepseekV3,
  gpt_oss: gptOss,
  granitemoe: graniteMoe,
  phimoe,
  glm4_moe: glm4Moe,
  switchyard_moe: switchyardMoe,
  switchyard_moe_encoder: switchyardMoeEncoder,
}

/** The config of an encoder-decoder. */
export type EncoderDecoderModelConfig = SwitchTransformersConfig | NllbMoeConfig
export type AnyModelConfig = ModelConfig | EncoderDecoderModelConfig
type EncoderDecoderType = EncoderDecoderModelConfig['model_type']

const encoderDecoders: {
  [T in EncoderDecoderType]: EncoderDecoderArchitecture<Extract<EncoderDecoderModelConfig, { model_type: T }>>
} = {
  switch_transformers: switchTransformers,
  'nllb-moe': nllbMoe,
}

export const modelTypes = [...Object.keys(architectures), ...Object.keys(encoderDecoders)]

/** The model file of a config's type, of one stack of layers. */
export function architectureOf<C extends ModelConfig>(config: C): Architecture<ModelConfig, ModelOf<C>> {
  return architectures[config.model_type] as unknown as Architecture<ModelConfig, ModelOf<C>>
}

/** The model file of an encoder-decoder config's type. */
export function encoderDecoderOf(config: { model_type: EncoderDecoderType }): EncoderDecoderArchitecture {
  return encoderDecoders[config.model_type] as unknown as EncoderDecoderArchitecture
}

export function isEncoderDecoder(config: AnyModelConfig): config is EncoderDecoderModelConfig {
  return Object.hasOwn(encoderDecoders, config.model_type)
}

export type AnyModel = CausalLM | MaskedLM | EncoderDecoderLM

/** What all model files have, for a config of any type. */
export function modelFileOf(config: AnyModelConfig): ModelFile<AnyModelConfig, AnyModel> {
  const file = isEncoderDecoder(config) ? encoderDecoderOf(config) : architectureOf(config)
  return file as unknown as ModelFile<AnyModelConfig, AnyModel>
}

/** Checks a parsed config.json. Throws ConfigError for a type or value that cannot be computed here. */
export function parseAnyConfig(json: unknown, source: string): AnyModelConfig {
  const type = (json as { model_type?: unknown } | null)?.model_type
  if (typeof type !== 'string' || !modelTypes.includes(type)) {
    throw new ConfigError(`model_type ${JSON.stringify(type)} is not one of ${modelTypes.join(', ')}`, {
      path: source,
    })
  }
  const file = modelFileOf({ model_type: type } as AnyModelConfig)
  return file.parseConfig(json, source)
}

/** parseAnyConfig() for what needs a model of one stack of layers. */
export function parseModelConfig(json: unknown, source: string): ModelConfig {
  return requireOneStack(parseAnyConfig(json, source), source)
}

/** Throws ConfigError for an encoder-decoder. */
export function requireOneStack(config: AnyModelConfig, source: string): ModelConfig {
  if (!isEncoderDecoder(config)) return config
  throw new ConfigError(`${config.model_type} is an encoder-decoder; this needs a decoder-only model`, {
    path: source,
  })
}

/** Throws ConfigError for a model that does not continue a text. */
export function requireDecoder(config: AnyModelConfig, source: string): DecoderModelConfig {
  const one = requireOneStack(config, source)
  if (one.model_type !== 'switchyard_moe_encoder') return one
  throw new ConfigError(
    `${one.model_type} is an encoder, which fills in masked tokens and cannot continue a text; this needs a decoder`,
    { path: source },
  )
}
