// What schemas may say, and of what.

import { ConfigError } from '../../errors.ts'

/** A schema whose keywords have been looked at. */
export interface SchemaObject extends Readonly<Record<string, unknown>> {
  type?: string | readonly string[]
  enum?: readonly unknown[]
  const?: unknown
  properties?: Readonly<Record<string, unknown>>
  required?: readonly string[]
  prefixItems?: readonly unknown[]
  minItems?: number
  maxItems?: number
  minLength?: number
  maxLength?: number
  pattern?: string
  format?: string
}

/** Keywords by the type that they speak of. */
const keywords: Record<string, readonly string[]> = {
  object: ['properties', 'required', 'additionalProperties', 'propertyNames'],
  array: ['items', 'prefixItems', 'additionalItems', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
}

/** Those that say nothing of the value. */
const annotations: readonly string[] = [
  ...['$schema', '$id', '$comment', '$defs', 'definitions', 'title', 'description', 'default', 'examples'],
  ...['deprecated', 'readOnly', 'writeOnly'],
]

/** Those beside which nothing but annotations is taken, but for a type beside constants. */
const alone: readonly string[] = ['$ref', 'allOf', 'anyOf', 'oneOf', 'enum', 'const']

/** Formats, each as a pattern: days are those that every month has. */
export const formats: Readonly<Record<string, string>> = {
  date: '\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])',
  time: '([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\dZ',
  'date-time': '\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\dZ',
  uuid: '[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}',
  email: '[a-z0-9]+([._-][a-z0-9]+)?@[a-z0-9]+(-[a-z0-9]+)?(\\.[a-z0-9]+)?\\.[a-z]{2,8}',
  ipv4: '((25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)\\.){3}(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)',
}

/** The keywords of a schema that say something of its value. @throws ConfigError for those that cannot be held to */
export function keywordsOf(schema: SchemaObject, path: string): string[] {
  const refuse = (name: string, problem: string): never => {
    throw new ConfigError(problem, { path: `${path}.${name}` })
  }
  const said = Object.keys(schema).filter(name => !annotations.includes(name) && name !== 'type')
  for (const name of said) {
    if (!alone.includes(name) && !Object.values(keywords).flat().includes(name))
      refuse(name, 'cannot be held to')
    const problem = formOf[name]?.(schema[name])
    if (problem) refuse(name, problem)
  }
  const single = said.find(name => alone.includes(name))
  const beside = said.find(name => name !== single)
  if (single && beside) refuse(beside, `cannot be held to beside ${single}`)
  if (single && 'type' in schema && single !== 'enum' && single !== 'const')
    refuse('type', `cannot be held to beside ${single}`)
  return said
}

const isCount = (value: unknown): string | null =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? null : 'must be a whole number'
const isText = (value: unknown): string | null => (typeof value === 'string' ? null : 'must be a text')
const isNumber = (value: unknown): string | null => (Number.isFinite(value) ? null : 'must be a number')
const isList = (value: unknown): string | null => (Array.isArray(value) ? null : 'must be a list')
const isObject = (value: unknown): string | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? null : 'must be an object'

/** What is wrong with a keyword's value, where there is something. */
const formOf: Record<string, (value: unknown) => string | null> = {
  ...{ properties: isObject, propertyNames: isObject, prefixItems: isList, enum: isList },
  ...{ anyOf: isList, oneOf: isList, allOf: isList },
  ...{ minItems: isCount, maxItems: isCount, minLength: isCount, maxLength: isCount },
  ...{ minimum: isNumber, maximum: isNumber, exclusiveMinimum: isNumber, exclusiveMaximum: isNumber },
  ...{ pattern: isText, format: isText },
  required: value =>
    Array.isArray(value) && value.every(name => typeof name === 'string') ? null : 'must be a list of names',
}

/** The types that a schema allows; those that its keywords speak of where it names none. None at all: any. */
export function typesOf(schema: SchemaObject, said: readonly string[], path: string): readonly string[] {
  const types = [schema.type ?? []].flat()
  const spoken = Object.keys(keywords).filter(type => said.some(name => keywords[type]?.includes(name)))
  const isSpoken = (type: string): boolean =>
    types.includes(type) || (type === 'number' && types.includes('integer'))
  const stray = spoken.find(type => types.length > 0 && !isSpoken(type))
  const name = said.find(keyword => keywords[stray ?? '']?.includes(keyword))
  if (name) throw new ConfigError(`says nothing of ${types.join(' or ')}`, { path: `${path}.${name}` })
  return types.length > 0 ? types : spoken
}

/** The type of a value of JSON; integers are told from other numbers. */
export function typeOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return Number.isInteger(value) ? 'integer' : typeof value
}
