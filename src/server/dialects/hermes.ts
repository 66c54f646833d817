// Hermes, Qwen and others: `<tool_call>\n{"name": "f", "arguments": {...}}\n</tool_call>`, as many as there are calls.

import { choice, literal, sequence } from '../../engine/index.ts'
import { type Input, type Reading, skipSpace, skipText, textUntil } from './input.ts'
import { jsonCall } from './json-call.ts'
import { callObject, type ToolFormat } from './tool-format.ts'

const [open, close] = ['<tool_call>', '</tool_call>']

export const hermes: ToolFormat = {
  // Others write XML between the same marks.
  isIn: template => template.includes(open) && !/<function=|<arg_key>/.test(template),
  specials: [open, close],

  *read(input) {
    while ((yield* textUntil(input, [open])) !== null) {
      if (!(yield* jsonCall(input))) yield { kind: 'content', text: open }
      else yield* afterCall(input)
    }
  },

  force(tools, rules, isMany) {
    const call = rules.rule(() => choice(...tools.map(tool => callObject('arguments', tool))))
    const end = literal(`\n${close}`)
    const more = sequence(literal(`\n${open}\n`), call, end)
    return { opening: `${open}\n`, rule: sequence(call, end, isMany ? `(${more})*` : '""') }
  },
}

/** Passes the end of a call, and the space around it. */
function* afterCall(input: Input): Reading {
  yield* skipSpace(input)
  yield* skipText(input, close)
  yield* skipSpace(input)
}
