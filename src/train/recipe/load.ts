// From YAML and overrides to a checked recipe, with errors that name the place.

import { readFileSync } from 'node:fs'
import { parse, YAMLParseError } from 'yaml'
import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { type Recipe, recipeSchema } from './schema.ts'

/**
 * Reads a recipe file and applies `path=value` overrides (values as in YAML).
 *
 * @throws ConfigError naming the path, the value and what is allowed
 */
export function loadRecipe(file: string, overrides: readonly string[] = []): Recipe {
  const raw = parseYaml(file)
  for (const override of overrides) applyOverride(raw, override)
  return checkRecipe(raw, file)
}

function parseYaml(file: string): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ConfigError('no such recipe; see recipes/ for examples', { path: file, cause })
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
      path: '--set',
    })
  }
  const keys = path.split('.')
  const last = keys.pop() as string
  let at = raw
  for (const key of keys) {
    const next = Object.hasOwn(at, key) ? at[key] : undefined
    if (next !== undefined && (typeof next !== 'object' || next === null)) {
      throw new ConfigError(`${key} is ${JSON.stringify(next)}, not a group of settings`, {
        path: `--set ${path}`,
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
    throw new ConfigError(`'${text}' is not YAML: ${problem}`, { path: `--set ${path}`, cause })
  }
}

/** Checks a raw recipe, alone and for combinations that cannot be. */
export function checkRecipe(raw: unknown, source: string): Recipe {
  const result = recipeSchema.safeParse(raw)
  if (!result.success) throw toConfigError(result.error, raw, source)
  refuseImpossible(result.data)
  return result.data
}

function toConfigError(error: z.ZodError, raw: unknown, source: string): ConfigError {
  const [issue] = error.issues
  if (!issue) return new ConfigError('is not a recipe', { path: source })
  const keys = issue.path.map(String)
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(keys, raw)
    const near = known.length > 0 ? `; known here: ${known.join(', ')}` : ''
    return new ConfigError(`unknown key${near}`, { path: [...keys, issue.keys[0] ?? ''].join('.') })
  }
  const value = issue.path.reduce<unknown>(
    (at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key],
    raw,
  )
  const got = value === undefined ? 'missing' : `got ${JSON.stringify(value)}`
  return new ConfigError(`${describeIssue(issue)} (${got})`, { path: keys.join('.') })
}

function describeIssue(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_union' && 'discriminator' in issue) {
    return `unknown ${String(issue.discriminator)}; known: ${unionOptions(issue).join(', ')}`
  }
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.map(String).join(', ')}`
  return issue.message
    .replace('Invalid input: e', 'E')
    .replace(/, received .*$/, '')
    .replace(/^E/, 'e')
}

function unionOptions(issue: z.core.$ZodIssueInvalidUnion): string[] {
  return 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : []
}

interface JsonSchema {
  properties?: Record<string, JsonSchema>
  oneOf?: JsonSchema[]
  anyOf?: JsonSchema[]
  const?: unknown
}

/** The keys a recipe may have at a path, for the kind that is chosen there. */
function knownKeys(path: readonly string[], raw: unknown): string[] {
  let schema = z.toJSONSchema(recipeSchema, { io: 'input' }) as JsonSchema
  let value = raw
  for (const key of path) {
    schema = chosen(schema, value).properties?.[key] ?? {}
    value = (value as Record<string, unknown> | undefined)?.[key]
  }
  return Object.keys(chosen(schema, value).properties ?? {})
}

/** Of a union the alternative whose constants fit the value. */
function chosen(schema: JsonSchema, value: unknown): JsonSchema {
  const alternatives = schema.oneOf ?? schema.anyOf
  if (!alternatives) return schema
  const fits = (alternative: JsonSchema): boolean =>
    Object.entries(alternative.properties ?? {}).every(
      ([key, property]) =>
        property.const === undefined || (value as Record<string, unknown> | null)?.[key] === property.const,
    )
  return alternatives.find(fits) ?? schema
}

function refuseImpossible({ model, router, dispatch, schedule, steps, data }: Recipe): void {
  const refuse = (path: string, message: string): never => {
    throw new ConfigError(message, { path })
  }
  if (model.type === 'mistral' && router) refuse('router', 'mistral is dense and has no router; remove it')
  if (model.type === 'mistral' && dispatch)
    refuse('dispatch', 'mistral is dense and dispatches nothing; remove it')
  if (model.type === 'mixtral' && router && router.k > model.num_local_experts) {
    refuse('router.k', `${router.k} exceeds model.num_local_experts, ${model.num_local_experts}`)
  }
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: groups = heads } = model
  if (model.head_dim === undefined && hidden % heads !== 0) {
    refuse('model.hidden_size', `${hidden} is not divisible by num_attention_heads, ${heads}`)
  }
  const width = model.head_dim ?? hidden / heads
  if (width % 2 !== 0)
    refuse('model.head_dim', `${width} is odd; rotary embeddings turn pairs, so it must be even`)
  if (heads % groups !== 0) {
    refuse('model.num_key_value_heads', `${groups} does not divide num_attention_heads, ${heads}`)
  }
  if (schedule.warmup > steps) refuse('schedule.warmup', `${schedule.warmup} exceeds steps, ${steps}`)
  const positions = model.max_position_embeddings ?? data.sequenceLength
  if (positions < data.sequenceLength) {
    refuse(
      'model.max_position_embeddings',
      `${positions} is below data.sequenceLength, ${data.sequenceLength}`,
    )
  }
}
