// What a schema finds wrong, in our words: what a value must be, and what it is.

import type { z } from 'zod'

type Issue = z.core.$ZodIssue

/** As `must be at least 1, got 0`, or `is missing`. `root` is what was checked. */
export function issueText(issue: Issue, root: unknown): string {
  const value = issue.path.reduce<unknown>(
    (at, key) => (at as Record<PropertyKey, unknown> | null)?.[key],
    root,
  )
  if (value === undefined) return `is missing${choices(issue)}`
  return `${demand(issue)}, got ${typeof value === 'number' ? value : JSON.stringify(value)}`
}

function demand(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${typeNames[issue.expected] ?? issue.expected}`
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`
    case 'invalid_union':
      return `must be one of ${unionOptions(issue).join(', ')}`
    case 'too_small':
      return bound(issue.origin, issue.minimum, issue.inclusive ? 'at least' : 'above')
    case 'too_big':
      return bound(issue.origin, issue.maximum, issue.inclusive ? 'at most' : 'below')
    default:
      return issue.message
  }
}

const typeNames: Partial<Record<string, string>> = {
  number: 'a number',
  int: 'a whole number',
  string: 'text',
  boolean: 'true or false',
  array: 'a list',
  tuple: 'a list',
  object: 'a group of settings',
  record: 'a group of settings',
}

function bound(origin: string, limit: number | bigint, relation: string): string {
  if (origin === 'number' || origin === 'int') return `must be ${relation} ${limit}`
  return `must have ${relation} ${limit} ${origin === 'string' ? 'characters' : 'entries'}`
}

function choices(issue: Issue): string {
  const known = issue.code === 'invalid_union' ? unionOptions(issue) : []
  return known.length > 0 ? `; it is one of ${known.join(', ')}` : ''
}

function unionOptions(issue: z.core.$ZodIssueInvalidUnion): string[] {
  return 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : []
}
