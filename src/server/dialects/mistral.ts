// Mistral: `[TOOL_CALLS][{"name": "f", "arguments": {...}}, ...]`, and from 2025 on `[TOOL_CALLS]f[ARGS]{...}` for each call.

import { choice, literal, sequence } from '../../engine/index.ts'
import { type Input, type Reading, skipMatch, skipSpace, textUntil } from './input.ts'
import { jsonArguments, jsonCall } from './json-call.ts'
import { type CallableTool, callObject, type ToolFormat } from './tool-format.ts'

const [open, between, id] = ['[TOOL_CALLS]', '[ARGS]', '[CALL_ID]']

/** Calls as a list. */
export const mistral: ToolFormat = {
  isIn: template => template.includes(open) && !template.includes(between),
  specials: [open],
  read: readCalls,

  force(tools, rules, isMany) {
    const call = rules.rule(() => choice(...tools.map(tool => callObject('arguments', tool))))
    const more = isMany ? `(${sequence(literal(', '), call)})*` : '""'
    return { opening: open, rule: sequence(literal('['), call, more, literal(']')) }
  },
}

/** Each call by itself. */
export const mistralNamed: ToolFormat = {
  isIn: template => template.includes(open) && template.includes(between),
  specials: [open, between, id],
  read: readCalls,

  force([first, ...others], rules, isMany) {
    const call = ({ name, rule }: CallableTool): string => sequence(literal(`${name}${between}`), rule())
    if (first && others.length === 0 && !isMany)
      return { opening: `${open}${first.name}${between}`, rule: first.rule() }
    const any = rules.rule(() => choice(...[first ?? [], ...others].flat().map(call)))
    return { opening: open, rule: isMany ? sequence(any, `(${sequence(literal(open), any)})*`) : any }
  },
}

function* readCalls(input: Input): Reading {
  while ((yield* textUntil(input, [open])) !== null) {
    yield* skipSpace(input)
    if (input.text.startsWith('[')) yield* readList(input)
    else yield* readNamed(input)
  }
}

function* readList(input: Input): Reading {
  input.take(1)
  while (yield* jsonCall(input)) {
    yield* skipSpace(input)
    if (!input.text.startsWith(',')) break
    input.take(1)
  }
  if (input.text.startsWith(']')) input.take(1)
}

function* readNamed(input: Input): Reading {
  const found = yield* skipMatch(input, /^([\w.-]+)(?:\[CALL_ID\]\w*)?(?:\[ARGS\]|(?=\{))/)
  if (found === null) return yield { kind: 'content', text: open }
  yield { kind: 'call', name: found[1] as string }
  yield* jsonArguments(input)
}
