// Which keys a recipe may have at a place, and which of them a misspelt one was meant to be.

import { z } from 'zod'
import { recipeSchema } from './schema.ts'

interface JsonSchema {
  properties?: Record<string, JsonSchema>
  oneOf?: JsonSchema[]
  anyOf?: JsonSchema[]
  const?: unknown
}

/** The keys a recipe may have at a path, for the kind that is chosen there. */
export function knownKeys(path: readonly string[], raw: unknown): string[] {
  let schema = z.toJSONSchema(recipeSchema, { io: 'input' }) as JsonSchema
  let value = raw
  for (const key of path) {
    schema = chosen(schema, value).properties?.[key] ?? {}
    value = (value as Record<string, unknown> | undefined)?.[key]
  }
  return Object.keys(chosen(schema, value).properties ?? {})
}

/** Of a union the alternative whose constants fit the value; the first where it names none. */
function chosen(schema: JsonSchema, value: unknown): JsonSchema {
  const alternatives = schema.oneOf ?? schema.anyOf
  if (!alternatives) return schema
  const fits = (alternative: JsonSchema): boolean =>
    Object.entries(alternative.properties ?? {}).every(
      ([key, property]) =>
        property.const === undefined || (value as Record<string, unknown> | null)?.[key] === property.const,
    )
  return alternatives.find(fits) ?? alternatives[0] ?? schema
}

/** The word that takes the fewest edits, if they are few for its length. */
export function closest(word: string, known: readonly string[]): string | undefined {
  const ranked = known.map(name => ({ name, edits: editDistance(word.toLowerCase(), name.toLowerCase()) }))
  const best = ranked.sort((a, b) => a.edits - b.edits)[0]
  return best && best.edits <= Math.max(1, best.name.length / 3) ? best.name : undefined
}

/** Levenshtein distance: insertions, deletions and replacements of one character. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}
