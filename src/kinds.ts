// Settings of several kinds, as in `router: { kind: top-k, k: 2 }`.

import { z } from 'zod'
import { invariant } from './errors.ts'
import { isGroup } from './group.ts'

type Kind = z.ZodObject<{ kind: z.ZodLiteral<string> }>

/**
 * A union told apart by `kind`. The first kind is the default: settings that name none are its own, so that
 * `router: { k: 4 }` is enough. A kind without settings may stand alone, as in `balance: none`.
 */
export function kinds<First extends Kind, Rest extends readonly Kind[]>(first: First, ...rest: Rest) {
  const union = z.discriminatedUnion('kind', [first, ...rest])
  return z.preprocess(value => withKind(value, first.shape.kind.value), union)
}

type KindsOf<T> = { readonly [K in keyof T]: { schema: z.ZodObject<{ kind: z.ZodLiteral<K & string> }> } }

/** The same of a table whose rows have a schema each, under the name of its kind. */
export function kindsOf<const T extends KindsOf<T>>(table: T) {
  type Schema = T[keyof T]['schema']
  const [first, ...rest] = Object.values<{ schema: Schema }>(table).map(({ schema }) => schema)
  invariant(first, 'a table of kinds has rows')
  return kinds<Schema, Schema[]>(first, ...rest)
}

function withKind(value: unknown, standard: string): unknown {
  if (typeof value === 'string') return { kind: value }
  return isGroup(value) && !Object.hasOwn(value, 'kind') ? { kind: standard, ...value } : value
}
