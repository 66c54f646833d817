// Every model type that can be opened, by its `model_type`.

import { ConfigError } from '../errors.ts'
import type { Architecture } from './architecture.ts'
import type { DecoderConfig } from './config.ts'
import { type DeepseekV2Config, deepseekV2 } from './deepseek-v2.ts'
import { type DeepseekV3Config, deepseekV3 } from './deepseek-v3.ts'
import { type Glm4MoeConfig, glm4Moe } from './glm4-moe.ts'
import { type GptOssConfig, gptOss } from './gpt-oss.ts'
import { type GraniteMoeConfig, graniteMoe } from './granitemoe.ts'
import { type MistralConfig, mistral } from './mistral.ts'
import { type MixtralConfig, mixtral } from './mixtral.ts'
import { type OlmoeConfig, olmoe } from './olmoe.ts'
import { type PhimoeConfig, phimoe } from './phimoe.ts'
import { type Qwen2MoeConfig, qwen2Moe } from './qwen2-moe.ts'
import { type Qwen3MoeConfig, qwen3Moe } from './qwen3-moe.ts'
import { type SwitchyardMoeConfig, switchyardMoe } from './switchyard-moe.ts'

export type ModelConfig =
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
export type ModelType = ModelConfig['model_type']

const architectures: { [T in ModelType]: Architecture<Extract<ModelConfig, { model_type: T }>> } = {
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

export const modelTypes = Object.keys(architectures) as ModelType[]

/** The model file of a config's type. */
export function architectureOf(config: { model_type: ModelType }): Architecture {
  return architectures[config.model_type] as unknown as Architecture
}

/** Checks a parsed config.json. Throws ConfigError for a type or value that cannot be computed here. */
export function parseModelConfig(json: unknown, source: string): ModelConfig {
  const type = (json as { model_type?: unknown } | null)?.model_type
  if (typeof type !== 'string' || !Object.hasOwn(architectures, type)) {
    throw new ConfigError(`model_type ${JSON.stringify(type)} is not one of ${modelTypes.join(', ')}`, {
      path: source,
    })
  }
  return architectureOf({ model_type: type as ModelType }).parseConfig(
    json,
    source,
  ) as DecoderConfig as ModelConfig
}
