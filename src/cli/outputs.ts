// Where commands write models: what is there already is not overwritten by accident.

import { existsSync, readdirSync, statSync } from 'node:fs'
import { ConfigError } from '../errors.ts'

/** Throws ConfigError for a folder that has weights. */
export function refuseFolderOfWeights(out: string): void {
  if (!existsSync(out) || !statSync(out).isDirectory()) return
  const weights = readdirSync(out).filter(name => /\.(safetensors|gguf)$/.test(name))
  if (weights.length === 0) return
  throw new ConfigError(`${out} already holds ${weights[0]}: remove it, or name another folder`, {
    path: '--out',
  })
}

/** Throws ConfigError for a file that exists. */
export function refuseFile(out: string, option = '--out'): void {
  if (!existsSync(out) || statSync(out).isDirectory()) return
  throw new ConfigError(`${out} exists: remove it, or name another place`, { path: option })
}
