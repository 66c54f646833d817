// Every model type that can be opened, by its `model_type`.

import { ConfigError } from '../errors.ts'
import type { Architecture } from './architecture.ts'
import type { DecoderConfig } from './config.ts'
import { type MistralConfig, mistral } from './mistral.ts'
import { type MixtralConfig, mixtral } from './mixtral.ts'
import { type SwitchyardMoeConfig, switchyardMoe } from './switchyard-moe.ts'

export type ModelConfig = MixtralConfig | MistralConfig | SwitchyardMoeConfig
export type ModelType = ModelConfig['model_type']

const architectures: { [T in ModelType]: Architecture<Extract<ModelConfig, { model_type: T }>> } = {
  mixtral,
  mistral,
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
