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
/** Schemas that are looked at for one argument: references to alternatives of references multiply. */
const mostSchemas = 1000

/** The schema of all arguments, and how many more schemas are looked at. */
interface Walk {
  readonly root: Schema
  left: number
}

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
  return alternatives(schema, { root: parameters, left: mostSchemas }, deepest)
}

/** What all of `$ref` and `allOf` say, and of `anyOf` and `oneOf` one member each, beside a schema's own keywords. */
function alternatives(schema: unknown, walk: Walk, depth: number): Schema[] {
  if (schema === true) return [{}]
  if (typeof schema !== 'object' || schema === null || depth === 0 || walk.left-- <= 0) return []
  const { $ref, anyOf, oneOf, allOf, ...own } = schema as Schema
  const inner = (one: unknown): Schema[] => alternatives(one, walk, depth - 1)
  const together = [
    ...(typeof $ref === 'string' ? [inner(meantBy($ref, walk.root))] : []),
    ...(Array.isArray(allOf) ? allOf.map(inner) : []),
    ...[anyOf, oneOf].filter(Array.isArray).map(some => some.flatMap(inner)),
  ]
  return together.reduce(joined, [own])
}

/** Each of one list with each of the other. */
const joined = (all: Schema[], others: Schema[]): Schema[] =>
  all
    .slice(0, Math.ceil(mostSchemas / Math.max(1, others.length)))
    .flatMap(one => others.map(other => ({ ...one, ...other })))

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
