// Kimi K2: in a section, each call by an id that has its name and number, and its arguments as JSON:
// `<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{...}<|tool_call_end|>`.

import { choice, literal, sequence } from '../../engine/index.ts'
import { type Input, type Reading, skipMatch, skipSpace, skipText, textUntil } from './input.ts'
import { jsonArguments } from './json-call.ts'
import type { ToolFormat } from './tool-format.ts'

const [begin, end] = ['<|tool_calls_section_begin|>', '<|tool_calls_section_end|>']
const [open, between, close] = ['<|tool_call_begin|>', '<|tool_call_argument_begin|>', '<|tool_call_end|>']

export const kimi: ToolFormat = {
  isIn: template => template.includes(begin) && template.includes(between),
  specials: [begin, end, open, between, close],

  *read(input) {
    while ((yield* textUntil(input, [begin])) !== null) yield* readSection(input)
  },

  force(tools, rules, isMany) {
    const calls = tools.map(tool =>
      sequence(literal(`${tool.name}:`), '[0-9]{1,3}', literal(between), tool.rule()),
    )
    const call = rules.rule(() => sequence(choice(...calls), literal(close)))
    const more = isMany ? `(${sequence(literal(`${open}functions.`), call)})*` : '""'
    return { opening: `${begin}${open}functions.`, rule: sequence(call, more, literal(end)) }
  },
}

function* readSection(input: Input): Reading {
  while ((yield* skipSpace(input)) && (yield* skipText(input, open))) {
    const found = yield* skipMatch(
      input,
      /^\s*((?:functions\.)?([\w.-]+):\d+)\s*<\|tool_call_argument_begin\|>/,
    )
    if (found === null) break
    yield { kind: 'call', name: found[2] as string, id: found[1] as string }
    yield* jsonArguments(input)
    yield* skipSpace(input)
    yield* skipText(input, close)
  }
  yield* skipText(input, end)
}
