// Every model type that can be opened, by its `model_type`. A new one is its file and a line here.

import { ConfigError } from '../../errors.ts'
import type { DropoutRates } from '../stack/dropout.ts'
import type { DecoderParts, EncoderDecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { deepseekV2 } from './deepseek-v2.ts'
import { deepseekV3 } from './deepseek-v3.ts'
import { glm4Moe } from './glm4-moe.ts'
import { gptOss } from './gpt-oss.ts'
import { graniteMoe } from './granitemoe.ts'
import { mistral } from './mistral.ts'
import { mixtral } from './mixtral.ts'
import { nllbMoe } from './nllb-moe.ts'
import { olmoe } from './olmoe.ts'
import { phimoe } from './phimoe.ts'
import { qwen2Moe } from './qwen2-moe.ts'
import { qwen3Moe } from './qwen3-moe.ts'
import { switchTransformers } from './switch-transformers.ts'
import { switchyardMoe } from './switchyard-moe.ts'
import { switchyardMoeEncoder } from './switchyard-moe-encoder.ts'

/** Models that continue a text. */
const decoders = {
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
}

/** Models that fill in masked tokens. */
const encoders = { switchyard_moe_encoder: switchyardMoeEncoder }

/** Models that answer one text with another. */
const encoderDecoders = { switch_transformers: switchTransformers, 'nllb-moe': nllbMoe }

type ConfigOf<T> = T extends Record<string, { parseConfig(...args: never[]): infer C }> ? C : never
/** The config of a decoder-only model. */
export type DecoderModelConfig = ConfigOf<typeof decoders>
export type EncoderModelConfig = ConfigOf<typeof encoders>
/** The config of a model of one stack of layers, decoder or encoder. */
export type ModelConfig = DecoderModelConfig | EncoderModelConfig
/** The config of an encoder-decoder. */
export type EncoderDecoderModelConfig = ConfigOf<typeof encoderDecoders>
export type AnyModelConfig = ModelConfig | EncoderDecoderModelConfig

type AnyArchitecture = Architecture<AnyModelConfig, unknown>
const all = { ...decoders, ...encoders, ...encoderDecoders } as unknown as Record<string, AnyArchitecture>

/** The `model_type`s. */
export const modelTypes: readonly string[] = Object.keys(all)

/** The architecture of a config's type. */
export function architectureOf(config: { model_type: string }): AnyArchitecture {
  return all[config.model_type] as AnyArchitecture
}

/** What a model's config says of the losses of its routers, by the names of recipes. */
export function routerLossesOf(config: AnyModelConfig): { balance: unknown; z: unknown } {
  const coefficient = 'router_aux_loss_coef' in config ? config.router_aux_loss_coef : 0
  const standard = coefficient > 0 ? { kind: 'mixtral-hf', coefficient } : { kind: 'none' }
  return { balance: standard, z: 0, ...architectureOf(config).routerLosses?.(config) }
}

/** What a model's config says that training drops, by the names of recipes. */
export const dropoutOf = (config: AnyModelConfig): DropoutRates =>
  architectureOf(config).dropout?.(config) ?? { hidden: 0, attention: 0 }

/** The same for models of one stack of layers. */
export function decoderArchitectureOf(config: ModelConfig): Architecture<ModelConfig, DecoderParts> {
  return architectureOf(config) as unknown as Architecture<ModelConfig, DecoderParts>
}

/** The same for encoder-decoders. */
export function encoderDecoderArchitectureOf(
  config: EncoderDecoderModelConfig,
): Architecture<EncoderDecoderModelConfig, EncoderDecoderParts> {
  return architectureOf(config) as unknown as Architecture<EncoderDecoderModelConfig, EncoderDecoderParts>
}

export function isDecoder(config: AnyModelConfig): config is DecoderModelConfig {
  return Object.hasOwn(decoders, config.model_type)
}

export function isEncoderDecoder(config: AnyModelConfig): config is EncoderDecoderModelConfig {
  return Object.hasOwn(encoderDecoders, config.model_type)
}

/** Checks a parsed config.json. Throws ConfigError for a type or value that cannot be computed here. */
export function parseAnyConfig(json: unknown, source = 'config'): AnyModelConfig {
  const type = (json as { model_type?: unknown } | null)?.model_type
  if (typeof type !== 'string' || !modelTypes.includes(type)) {
    throw new ConfigError(`model_type ${JSON.stringify(type)} is not one of ${modelTypes.join(', ')}`, {
      path: source,
    })
  }
  return architectureOf({ model_type: type }).parseConfig(json, source)
}

/** parseAnyConfig() for what needs a model of one stack of layers. */
export function parseModelConfig(json: unknown, source = 'config'): ModelConfig {
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
  if (isDecoder(one)) return one
  throw new ConfigError(
    `${one.model_type} is an encoder, which fills in masked tokens and cannot continue a text; this needs a decoder`,
    { path: source },
  )
}
