// JSON schemas as grammars. What a grammar derives satisfies the schema; a schema may allow more than is derived: properties
// come in their order, those that it does not name are left out, numbers have at most 15 digits. What cannot be held to is
// refused by name.

import { ConfigError } from '../../errors.ts'
import { areDisjoint } from './disjoint.ts'
import { colon, comma, jsonRule, plainCharacter } from './json-rules.ts'
import { type Bounds, integersWithin, numbersWithin } from './number-rules.ts'
import { patternRule } from './pattern-rules.ts'
import { choice, literal, type Rules, repeated, sequence } from './rules.ts'
import { formats, keywordsOf, type SchemaObject, typeOf, typesOf } from './schema-keywords.ts'
import type { JsonSchema } from './text-grammar.ts'

/** Largest schema, in characters of its JSON, and how many schemas may stand in it. */
const largestSchema = 64 * 1024
const mostSchemas = 2000
/** Nested at most so deep. */
const deepest = 64

/**
 * What compiling may cost, in characters that are told apart times tokens: each takes about half a microsecond, and others
 * that have a form wait meanwhile. All schemas of a request share it. Other parts count as shares of a character, as they were measured.
 */
const mostCost = 4e6
const costs = { schema: 1 / 32, constant: 1 / 16, bounds: 1 / 2, item: 1 / 128, optionalPair: 1 / 8 }

export interface SchemaOptions {
  /** How errors call the schema. */
  path: string
  /** Tokens of the vocabulary, by which a schema costs. */
  tokens: number
}

/**
 * Adds the rules of a schema and returns the one that derives its values.
 *
 * @throws ConfigError that names the keyword which cannot be held to
 */
export function schemaRule(rules: Rules, schema: JsonSchema, { path, tokens }: SchemaOptions): string {
  const { length } = JSON.stringify(schema)
  if (length > largestSchema)
    throw new ConfigError(`has ${length} characters; at most ${largestSchema} are taken`, { path })
  return new SchemaRules(rules, schema, path, tokens).root
}

/** Where a schema stands. */
interface Place {
  path: string
  depth: number
  /** References that were followed since the last character that is written. */
  unfolded: readonly string[]
}

class SchemaRules {
  readonly root: string
  readonly #rules: Rules
  readonly #schema: JsonSchema
  readonly #rootPath: string
  readonly #tokens: number
  readonly #references = new Map<string, string>()
  #count = 0

  constructor(rules: Rules, schema: JsonSchema, path: string, tokens: number) {
    this.#rules = rules
    this.#schema = schema
    this.#rootPath = path
    this.#tokens = tokens
    this.root = this.#reference('#', { path, depth: 0, unfolded: [] })
  }

  #value(schema: unknown, place: Place): string {
    if (++this.#count > mostSchemas) throw refusal(this.#rootPath, `has more than ${mostSchemas} schemas`)
    this.#charge(costs.schema, place.path)
    if (place.depth > deepest) throw refusal(place.path, `is nested deeper than ${deepest}`)
    if (schema === true) return jsonRule(this.#rules, 'any')
    if (schema === false) throw refusal(place.path, 'is false: nothing satisfies it')
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema))
      throw refusal(place.path, 'must be a JSON schema')
    return this.#object(schema as SchemaObject, place)
  }

  #object(schema: SchemaObject, place: Place): string {
    const { $ref, anyOf, oneOf, allOf } = schema
    const keywords = keywordsOf(schema, place.path)
    if ($ref !== undefined) return this.#reference($ref, place)
    if (allOf !== undefined) return this.#single(allOf, place)
    if (anyOf ?? oneOf) return this.#alternatives(schema, place)
    if (schema.enum ?? 'const' in schema) {
      this.#charge(costs.constant * (schema.enum?.length ?? 1), place.path)
      return constants(schema, place.path)
    }
    const types = typesOf(schema, keywords, place.path)
    if (types.length === 0) return jsonRule(this.#rules, 'any')
    return choice(...types.map(type => this.#ofType(type, schema, place)))
  }

  #ofType(type: string, schema: SchemaObject, place: Place): string {
    switch (type) {
      case 'object':
        return this.#members(schema, place)
      case 'array':
        return this.#items(schema, place)
      case 'string':
        return this.#string(schema, place.path)
      case 'integer':
      case 'number':
        return this.#number(type, schema, place.path)
      case 'boolean':
        return choice('"true"', '"false"')
      case 'null':
        return '"null"'
      default:
        throw refusal(`${place.path}.type`, `${JSON.stringify(type)} is no type of JSON`)
    }
  }

  #reference(ref: unknown, place: Place): string {
    if (typeof ref !== 'string') throw refusal(`${place.path}.$ref`, 'must be a text')
    if (place.unfolded.includes(ref))
      throw refusal(place.path, `${ref} refers to itself without anything between`)
    const known = this.#references.get(ref)
    if (known !== undefined) return known
    const schema = this.#at(ref, place.path)
    return this.#rules.rule(name => {
      this.#references.set(ref, name)
      return this.#value(schema, { ...place, unfolded: [...place.unfolded, ref] })
    })
  }

  /** The schema that a reference means. */
  #at(ref: string, path: string): unknown {
    if (!ref.startsWith('#')) throw refusal(`${path}.$ref`, `${ref} is not in this schema`)
    const steps = ref.slice(1).split('/').slice(1)
    return steps.reduce((at: unknown, step) => {
      const name = decoded(step).replaceAll('~1', '/').replaceAll('~0', '~')
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name))
        throw refusal(`${path}.$ref`, `there is no ${ref}`)
      return (at as Record<string, unknown>)[name]
    }, this.#schema)
  }

  #single(allOf: unknown, place: Place): string {
    if (Array.isArray(allOf) && allOf.length === 1) return this.#value(allOf[0], inside(place, '.allOf[0]'))
    throw refusal(`${place.path}.allOf`, 'can be held to only with one schema')
  }

  #alternatives(schema: SchemaObject, place: Place): string {
    const [name, list] = schema.anyOf ? ['anyOf', schema.anyOf] : ['oneOf', schema.oneOf]
    const path = `${place.path}.${name}`
    if (!Array.isArray(list) || list.length === 0) throw refusal(path, 'must be a list of schemas')
    if (name === 'oneOf' && !this.#areDisjoint(list, path))
      throw refusal(path, 'can be held to only where types or constants tell its schemas apart; use anyOf')
    return choice(...list.map((one, i) => this.#value(one, inside(place, `.${name}[${i}]`))))
  }

  #areDisjoint(list: readonly unknown[], path: string): boolean {
    return areDisjoint(list, {
      path,
      at: ref => this.#at(ref, path),
      charge: values => this.#charge((1 + values) / this.#tokens, path),
    })
  }

  #members(schema: SchemaObject, place: Place): string {
    const { properties = {}, required = [], additionalProperties = true } = schema
    const names = [...new Set([...Object.keys(properties), ...(required as string[])])]
    if (names.length === 0) return this.#record(schema, place)
    if (schema.propertyNames !== undefined)
      throw refusal(`${place.path}.propertyNames`, 'cannot be held to beside properties')
    const members = names.map(name => {
      const isNamed = Object.hasOwn(properties, name)
      const at = inside(place, isNamed ? `.properties.${name}` : '.additionalProperties')
      const value = this.#value(isNamed ? properties[name] : additionalProperties, { ...at, unfolded: [] })
      const rule = sequence(literal(JSON.stringify(name)), colon, value)
      return { rule, isRequired: (required as string[]).includes(name) }
    })
    // Each may be followed by any of those after it.
    const optional = members.filter(({ isRequired }) => !isRequired).length
    this.#charge((costs.optionalPair * optional * (optional + 1)) / 2, place.path)
    jsonRule(this.#rules, 'sp')
    return sequence('"{"', this.#listed(members), '"}"')
  }

  /** Members in their order, with commas between those that are there. */
  #listed(members: readonly { rule: string; isRequired: boolean }[]): string {
    let [first, later] = ['""', '""'] // what may follow where nothing, and where something was written
    for (const { rule, isRequired } of members.toReversed()) {
      const [begun, more] = [sequence(rule, later), sequence(comma, rule, later)]
      const [nothing, rest] = [first, later]
      first = this.#rules.rule(() => (isRequired ? begun : choice(begun, nothing)))
      later = this.#rules.rule(() => (isRequired ? more : choice(more, rest)))
    }
    return first
  }

  /** An object of whatever names. */
  #record(schema: SchemaObject, place: Place): string {
    const { additionalProperties = true, propertyNames } = schema
    if (additionalProperties === false) return '"{}"'
    const within = (name: string): Place => ({ ...inside(place, name), unfolded: [] })
    const key =
      propertyNames === undefined
        ? jsonRule(this.#rules, 'str')
        : this.#value({ type: 'string', ...(propertyNames as object) }, within('.propertyNames'))
    const value = this.#value(additionalProperties, within('.additionalProperties'))
    jsonRule(this.#rules, 'sp')
    const member = this.#rules.rule(() => sequence(key, colon, value))
    return sequence('"{"', `(${sequence(member, `(${sequence(comma, member)})*`)})?`, '"}"')
  }

  #items(schema: SchemaObject, place: Place): string {
    const { name, prefixItems, items } = tupleOf(schema)
    const { minItems = 0, maxItems = Number.POSITIVE_INFINITY } = schema
    const within = (name: string): Place => ({ ...inside(place, name), unfolded: [] })
    const most = items === false ? Math.min(maxItems, prefixItems.length) : maxItems
    if (minItems > most) throw refusal(`${place.path}.minItems`, `${minItems} are more than there may be`)
    this.#charge(costs.item * (Number.isFinite(most) ? most : minItems), place.path)
    const first = prefixItems.slice(0, most).map((one, i) => this.#value(one, within(`.${name}[${i}]`)))
    jsonRule(this.#rules, 'sp')
    if (most <= first.length) return sequence('"["', first.join(` ${comma} `) || '""', '"]"')
    const item = this.#rules.rule(() => this.#value(items, within('.items')))
    const more = (least: number, count: number): string =>
      repeated(sequence(comma, item), Math.max(0, least), count)
    const { length } = first
    if (length > 0)
      return sequence('"["', first.join(` ${comma} `), more(minItems - length, most - length), '"]"')
    const some = sequence(item, more(minItems - 1, most - 1))
    return sequence('"["', minItems > 0 ? some : `(${some})?`, '"]"')
  }

  #string({ minLength = 0, maxLength, pattern, format }: SchemaObject, path: string): string {
    const form = pattern ?? (format === undefined ? undefined : formats[format])
    if (form !== undefined) {
      if (minLength > 0 || maxLength !== undefined)
        throw refusal(path, 'a length cannot be held to beside a pattern or a format')
      const { rule, states } = patternRule(form, `${path}.${pattern === undefined ? 'format' : 'pattern'}`)
      this.#charge(states, path)
      return rule
    }
    if (format !== undefined)
      throw refusal(
        `${path}.format`,
        `${format} cannot be held to; there are ${Object.keys(formats).join(', ')}`,
      )
    if (minLength === 0 && maxLength === undefined) return jsonRule(this.#rules, 'str')
    this.#charge(maxLength ?? minLength, `${path}.${maxLength === undefined ? 'minLength' : 'maxLength'}`)
    if (maxLength === undefined)
      return sequence('"\\""', repeated(plainCharacter, minLength, minLength), this.#tail())
    if (minLength > maxLength) throw refusal(`${path}.minLength`, 'is more than maxLength')
    return sequence('"\\""', repeated(plainCharacter, minLength, maxLength), '"\\""')
  }

  #tail(): string {
    jsonRule(this.#rules, 'str')
    return 'tail'
  }

  #number(type: 'integer' | 'number', schema: SchemaObject, path: string): string {
    const isFree = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'].every(
      name => !(name in schema),
    )
    if (isFree) return jsonRule(this.#rules, type === 'integer' ? 'int' : 'num')
    this.#charge(costs.bounds, path)
    const rule = (type === 'integer' ? integersWithin : numbersWithin)(schema as Bounds)
    if (rule === null) throw refusal(path, 'has bounds between which no number can be written')
    return rule
  }

  /** Counts what compiling costs, in characters, with the schemas that have rules already. */
  #charge(cost: number, path: string): void {
    this.#rules.cost += cost
    const most = Math.floor(mostCost / this.#tokens)
    if (this.#rules.cost > most)
      throw refusal(
        path,
        `makes the schema as costly as ${Math.ceil(this.#rules.cost)} counted characters; with this vocabulary ${most} are taken`,
      )
  }
}

/** The first items of a list, and what the others are: of what has none, false where first ones are named. */
function tupleOf(schema: SchemaObject): { name: string; prefixItems: readonly unknown[]; items: unknown } {
  // As drafts before 2020-12 have it.
  if (Array.isArray(schema.items))
    return { name: 'items', prefixItems: schema.items, items: schema.additionalItems ?? false }
  const { prefixItems = [] } = schema
  return { name: 'prefixItems', prefixItems, items: schema.items ?? prefixItems.length === 0 }
}

/** A step of a reference, which may be written as in an address. */
function decoded(step: string): string {
  try {
    return decodeURIComponent(step)
  } catch {
    return step
  }
}

const inside = (place: Place, name: string): Place => ({
  ...place,
  path: `${place.path}${name}`,
  depth: place.depth + 1,
})

const refusal = (path: string, problem: string): ConfigError => new ConfigError(problem, { path })

/** One of the values that a schema names. */
function constants(schema: SchemaObject, path: string): string {
  const values = schema.enum ?? [schema.const]
  const types = [schema.type ?? []].flat() as string[]
  const fitting = values.filter(
    value =>
      types.length === 0 ||
      types.includes(typeOf(value)) ||
      (types.includes('number') && typeof value === 'number'),
  )
  if (fitting.length === 0) throw refusal(path, 'has no value of its type')
  return choice(...fitting.map(value => literal(JSON.stringify(value))))
}
