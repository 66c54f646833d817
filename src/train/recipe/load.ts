// A recipe from a YAML file and overrides.

import { readFileSync } from 'node:fs'
import { parse, YAMLParseError } from 'yaml'
import { ConfigError } from '../../errors.ts'
import { checkRecipe } from './check.ts'
import type { Recipe } from './schema.ts'

/**
 * Reads a recipe file and applies `path=value` overrides (values as in YAML).
 *
 * @throws ConfigError naming the path, the value and what is allowed
 */
export function loadRecipe(file: string, overrides: readonly string[] = []): Recipe {
  return withOverrides(parseYaml(file), overrides, file)
}

/** The recipe that settings come to with overrides as loadRecipe() takes them; `source` names them in errors. */
export function withOverrides(
  settings: Readonly<Record<string, unknown>>,
  overrides: readonly string[],
  source: string,
): Recipe {
  const raw = structuredClone(settings)
  for (const override of overrides) applyOverride(raw, override)
  return checkRecipe(raw, source)
}

function parseYaml(file: string): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const problem = code === 'ENOENT' ? 'no such recipe' : `cannot be read as a recipe (${code})`
    throw new ConfigError(`${problem}; see recipes/ for examples`, { path: file, cause })
  }
  try {
    const raw: unknown = parse(text)
    if (typeof raw === 'object' && raw !== null && !Array.isArray(raw)) return raw as Record<string, unknown>
  } catch (cause) {
    const problem = cause instanceof YAMLParseError ? cause.message.split('\n')[0] : String(cause)
    throw new ConfigError(`not YAML: ${problem}`, { path: file, cause })
  }
  throw new ConfigError('is not a mapping of keys to values', { path: file })
}

/** Sets `a.b.c=value` in a nested object; the value is read as YAML, so that numbers, lists and null work. */
function applyOverride(raw: Record<string, unknown>, override: string): void {
  const [, path, text] = /^([\w.]+)=(.*)$/s.exec(override) ?? []
  if (path === undefined || text === undefined) {
    throw new ConfigError(`'${override}' is not PATH=VALUE, as in optimizer.learningRate=1e-3`, {
      path: 'set',
    })
  }
  const keys = path.split('.')
  const last = keys.pop() as string
  let at = raw
  for (const key of keys) {
    const value = Object.hasOwn(at, key) ? at[key] : undefined
    // A kind alone, as in `precision: half`, stands for its defaults: settings may follow it.
    const next = typeof value === 'string' ? { kind: value } : value
    if (next !== undefined && (typeof next !== 'object' || next === null)) {
      throw new ConfigError(`${key} is ${JSON.stringify(next)}, not a group of settings`, {
        path: `set ${path}`,
      })
    }
    const child = (next ?? {}) as Record<string, unknown>
    Object.defineProperty(at, key, { value: child, enumerable: true, configurable: true, writable: true })
    at = child
  }
  Object.defineProperty(at, last, {
    value: parseValue(path, text),
    enumerable: true,
    configurable: true,
    writable: true,
  })
}

function parseValue(path: string, text: string): unknown {
  try {
    return parse(text)
  } catch (cause) {
    const problem = (cause as Error).message.split('\n')[0]
    throw new ConfigError(`'${text}' is not YAML: ${problem}`, { path: `set ${path}`, cause })
  }
}
