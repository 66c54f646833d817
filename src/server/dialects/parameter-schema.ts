// What a function's schema says of how an argument is written where texts have no quotes.

/** A JSON schema as it was sent. */
export type Schema = Readonly<Record<string, unknown>>

/** One of the ways in which a schema allows texts. */
export interface TextForm {
  /** The texts themselves, where it names them. */
  values: readonly string[] | null
  /** A keyword that wants them to be of some form. */
  formed: string | null
}

/** Nested references and alternatives that are followed. */
const deepest = 8

/** Whether an argument is a text, a text unless it is null, or never one. What nothing is known of is a text. */
export function writesText(parameters: Schema, name: string): 'always' | 'or null' | 'never' {
  const leaves = leavesOf(parameters, name)
  if (!leaves.some(isText)) return 'never'
  return leaves.some(leaf => typesOf(leaf).includes('null')) ? 'or null' : 'always'
}

/** The texts that an argument may be; null where it is none. */
export function textsOf(parameters: Schema, name: string): TextForm[] | null {
  const texts = leavesOf(parameters, name).filter(isText)
  if (texts.length === 0) return null
  return texts.map(leaf => ({
    values: constantsOf(leaf)?.filter(value => typeof value === 'string') ?? null,
    formed: ['minLength', 'maxLength', 'pattern', 'format'].find(keyword => keyword in leaf) ?? null,
  }))
}

/** The alternatives of an argument's schema. */
function leavesOf(parameters: Schema, name: string): Schema[] {
  const properties = parameters.properties as Record<string, unknown> | undefined
  const schema = properties && Object.hasOwn(properties, name) ? properties[name] : {}
  return alternatives(schema, parameters, deepest)
}

function alternatives(schema: unknown, root: Schema, depth: number): Schema[] {
  if (typeof schema !== 'object' || schema === null || depth === 0) return []
  const { $ref, anyOf, oneOf, allOf } = schema as Schema
  if (typeof $ref === 'string') return alternatives(meantBy($ref, root), root, depth - 1)
  const nested = [anyOf, oneOf, allOf].find(Array.isArray) as unknown[] | undefined
  return nested ? nested.flatMap(one => alternatives(one, root, depth - 1)) : [schema as Schema]
}

/** What a reference means, within the schema of all arguments. */
function meantBy(ref: string, root: Schema): unknown {
  return ref
    .split('/')
    .slice(1)
    .reduce((at: unknown, step) => (Object(at) as Record<string, unknown>)[step], root)
}

const constantsOf = (schema: Schema): readonly unknown[] | null => {
  if (Array.isArray(schema.enum)) return schema.enum
  return 'const' in schema ? [schema.const] : null
}

/** Types of JSON that a schema allows, as far as it names them. */
function typesOf(schema: Schema): readonly unknown[] {
  const constants = constantsOf(schema)
  if (constants) return constants.map(value => (value === null ? 'null' : typeof value))
  return [schema.type ?? []].flat()
}

const isText = (schema: Schema): boolean => {
  const types = typesOf(schema)
  return types.length === 0 ? !('properties' in schema || 'items' in schema) : types.includes('string')
}
