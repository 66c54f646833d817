// Every model type that GGUF files can hold.

import { ConfigError } from '../../../errors.ts'
import { type AnyModelConfig, architectureOf, modelTypes } from '../table.ts'
import type { GgufRow } from './row.ts'

const rowOf = (model_type: string): GgufRow<AnyModelConfig> | undefined => architectureOf({ model_type }).gguf

/** The row of files that say they are of an architecture. */
export function ggufRowNamed(name: string, file: string): GgufRow<AnyModelConfig> {
  const rows = [...new Set(modelTypes.flatMap(type => rowOf(type) ?? []))]
  const found = rows.find(row => row.name === name)
  if (found) return found
  throw new ConfigError(
    `general.architecture "${name}" cannot be read; it must be one of ${rows.map(row => row.name).join(', ')}`,
    { path: file },
  )
}

/** The row that a model is written by. */
export function ggufRowOf({ model_type }: AnyModelConfig): GgufRow<AnyModelConfig> {
  const found = rowOf(model_type)
  if (found) return found
  throw new ConfigError(
    `${model_type} has no GGUF architecture here; these have: ${modelTypes.filter(type => rowOf(type)).join(', ')}`,
    { path: 'model_type' },
  )
}
