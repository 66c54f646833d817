// Whether a value can satisfy two schemas: for `oneOf`, which allows one that satisfies exactly one.

import type { SchemaObject } from './schema-keywords.ts'
import { typeOf } from './schema-keywords.ts'

/**
 * Whether no value satisfies two of the schemas, as far as their types and constants show, or constants of a property that
 * both demand.
 */
export function areDisjoint(schemas: readonly unknown[], at: (ref: string) => unknown): boolean {
  const resolved = schemas.map(schema => resolve(schema, at))
  return resolved.every((one, i) => resolved.slice(i + 1).every(other => arePairDisjoint(one, other, at)))
}

function resolve(schema: unknown, at: (ref: string) => unknown): SchemaObject {
  const { $ref } = (schema ?? {}) as { $ref?: unknown }
  return ((typeof $ref === 'string' ? at($ref) : schema) ?? {}) as SchemaObject
}

function arePairDisjoint(a: SchemaObject, b: SchemaObject, at: (ref: string) => unknown): boolean {
  if (haveNone(typesIn(a), typesIn(b)) || haveNone(valuesIn(a), valuesIn(b))) return true
  const shared = (a.required ?? []).filter(name => (b.required ?? []).includes(name))
  return shared.some(name =>
    haveNone(valuesIn(resolve(a.properties?.[name], at)), valuesIn(resolve(b.properties?.[name], at))),
  )
}

/** Whether two lists have nothing in common; null is a list of whatever. */
const haveNone = (a: readonly string[] | null, b: readonly string[] | null): boolean =>
  a !== null && b !== null && !a.some(value => b.includes(value))

function typesIn(schema: SchemaObject): string[] | null {
  const constants = constantsIn(schema)
  if (constants) return constants.map(typeOf)
  if (schema.type === undefined) return null
  return [schema.type].flat().flatMap(type => (type === 'number' ? ['number', 'integer'] : [type]))
}

const valuesIn = (schema: SchemaObject): string[] | null =>
  constantsIn(schema)?.map(value => JSON.stringify(value)) ?? null

const constantsIn = (schema: SchemaObject): readonly unknown[] | null =>
  schema.enum ?? ('const' in schema ? [schema.const] : null)
