// The grammar of JSON: in one line, a space after commas and colons or none.

import { type Rules, sequence } from './rules.ts'

/**
 * A character that a JSON string has as it is. Classes name what is not in them, and only ASCII: those that name letters
 * beyond it are matched wrongly by xgrammar 0.1.27.
 */
export const plainCharacter = '[^"\\\\\\x00-\\x1f]'

// Digits are bounded: no number overflows, and integers are exact.
const shared = {
  sp: '" "?',
  // As right recursion, for which xgrammar knows most tokens' fate before it runs.
  str: '"\\"" tail',
  tail: `"\\"" | ${plainCharacter} tail | "\\\\" esc tail`,
  esc: '["\\\\/bfnrt] | "u" hex hex hex hex',
  hex: '[0-9a-fA-F]',
  int: '"0" | "-"? [1-9] [0-9]{0,14}',
  num: '"-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})? ([eE] [+-]? [0-9]{1,2})?',
  any: 'obj | arr | str | num | "true" | "false" | "null"',
  obj: '"{}" | "{" member',
  member: 'str ":" sp any ("}" | "," sp member)',
  arr: '"[]" | "[" item',
  item: 'any ("]" | "," sp item)',
}

/** Names of rules of JSON. */
export type JsonRule = keyof typeof shared

/** Adds the rules of JSON and returns the name of one. */
export function jsonRule(rules: Rules, name: JsonRule): JsonRule {
  rules.add(shared)
  return name
}

/** `first, second` */
export const comma = sequence('","', 'sp')
/** `"name": value` */
export const colon = sequence('":"', 'sp')
