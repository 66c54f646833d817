// Whether a value can satisfy two schemas: for `oneOf`, which allows one that satisfies exactly one.

import { keywordsOf, type SchemaObject, typeOf } from './schema-keywords.ts'

/** Where schemas come from, and who counts the work. */
export interface Surroundings {
  /** How errors call the schemas. */
  path: string
  /** What a reference means. */
  at(ref: string): unknown
  /** Told of values before they are compared. */
  charge(values: number): void
}

/** What shows of the values that a schema allows; null: any. */
interface Shown {
  types: ReadonlySet<string> | null
  values: ReadonlySet<string> | null
  required: ReadonlySet<string>
  properties: Readonly<Record<string, unknown>>
}

const whatever: Shown = { types: null, values: null, required: new Set(), properties: {} }

/**
 * Whether no value satisfies two of the schemas, as far as their types and constants show, or constants of a property that
 * both demand.
 *
 * @throws ConfigError for a schema that is none
 */
export function areDisjoint(schemas: readonly unknown[], surroundings: Surroundings): boolean {
  const alternatives = new Alternatives(surroundings)
  const shown = schemas.map(schema => alternatives.shown(schema))
  return shown.every((one, i) => {
    for (let j = i + 1; j < shown.length; j++)
      if (!alternatives.areDisjoint(one, shown[j] as Shown)) return false
    return true
  })
}

class Alternatives {
  readonly #surroundings: Surroundings
  readonly #known = new Map<unknown, Shown>()

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
  }

  /** What a schema shows, which is looked at once. */
  shown(schema: unknown): Shown {
    const { $ref } = (schema ?? {}) as { $ref?: unknown }
    const meant = typeof $ref === 'string' ? this.#surroundings.at($ref) : schema
    const known = this.#known.get(meant) ?? this.#look(meant)
    this.#known.set(meant, known)
    return known
  }

  #look(schema: unknown): Shown {
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return whatever
    const checked = schema as SchemaObject
    keywordsOf(checked, this.#surroundings.path)
    const { required = [], properties = {} } = checked
    const constants = checked.enum ?? ('const' in checked ? [checked.const] : null)
    this.#surroundings.charge(required.length + (constants?.length ?? 0))
    return {
      types: constants ? new Set(constants.map(typeOf)) : namedTypes(checked),
      values: constants && new Set(constants.map(value => JSON.stringify(value))),
      required: new Set(required),
      properties,
    }
  }

  areDisjoint(a: Shown, b: Shown): boolean {
    if (this.#haveNone(a.types, b.types) || this.#haveNone(a.values, b.values)) return true
    this.#surroundings.charge(a.required.size)
    for (const name of a.required)
      if (b.required.has(name) && this.#haveNone(this.#constants(a, name), this.#constants(b, name)))
        return true
    return false
  }

  #constants({ properties }: Shown, name: string): ReadonlySet<string> | null {
    return Object.hasOwn(properties, name) ? this.shown(properties[name]).values : null
  }

  /** Whether two sets have nothing in common; null is a set of whatever. */
  #haveNone(a: ReadonlySet<string> | null, b: ReadonlySet<string> | null): boolean {
    if (a === null || b === null) return false
    this.#surroundings.charge(Math.min(a.size, b.size))
    const [few, many] = a.size < b.size ? [a, b] : [b, a]
    for (const value of few) if (many.has(value)) return false
    return true
  }
}

function namedTypes({ type = [] }: SchemaObject): ReadonlySet<string> | null {
  const types = [type].flat().flatMap(one => (one === 'number' ? ['number', 'integer'] : [one]))
  return types.length === 0 ? null : new Set(types)
}
