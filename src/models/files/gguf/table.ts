// Every model type that GGUF files can hold.

import { ConfigError } from '../../errors.ts'
import type { AnyModelConfig, ModelType } from '../table.ts'
import type { GgufArchitecture } from './architecture.ts'
import { deepseek2Gguf } from './deepseek2.ts'
import { gptOssGguf } from './gpt-oss.ts'
import { mixtralGguf } from './mixtral.ts'
import { olmoeGguf } from './olmoe.ts'
import { qwen3MoeGguf } from './qwen3-moe.ts'

const byType: Partial<Record<ModelType, unknown>> = {
  mixtral: mixtralGguf,
  qwen3_moe: qwen3MoeGguf,
  olmoe: olmoeGguf,
  deepseek_v2: deepseek2Gguf,
  deepseek_v3: deepseek2Gguf,
  gpt_oss: gptOssGguf,
}

const all = [...new Set(Object.values(byType))] as GgufArchitecture[]

/** The architecture of files that say it is theirs. */
export function ggufArchitectureNamed(name: string, file: string): GgufArchitecture {
  const found = all.find(architecture => architecture.name === name)
  if (found) return found
  throw new ConfigError(
    `general.architecture "${name}" cannot be read; it must be one of ${all.map(one => one.name).join(', ')}`,
    { path: file },
  )
}

/** The architecture that a model is written as. */
export function ggufArchitectureOf(config: AnyModelConfig): GgufArchitecture {
  const found = (byType as Record<string, unknown>)[config.model_type]
  if (found) return found as GgufArchitecture
  throw new ConfigError(
    `${config.model_type} has no GGUF architecture here; these have: ${Object.keys(byType).join(', ')}`,
    { path: 'model_type' },
  )
}
