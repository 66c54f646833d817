// Qwen3-Coder: `<tool_call>\n<function=f>\n<parameter=x>\nvalue\n</parameter>\n</function>\n</tool_call>`.

import { choice, literal, sequence } from '../../engine/index.ts'
import { type ArgumentForm, argumentsRule, bareArguments } from './bare-arguments.ts'
import { type Input, type Reading, skipMatch, skipSpace, skipText, textUntil } from './input.ts'
import { type OfferedTool, type ToolFormat, toolNamed } from './tool-format.ts'

const [open, close] = ['<tool_call>', '</tool_call>']
const [begin, end] = ['<function=', '</function>']

const parameter: ArgumentForm = {
  head: name => `<parameter=${name}>\n`,
  ...{ open: '<parameter=', name: /^([^>]*)>/, edge: '\n', close: '</parameter>' },
}

export const qwenCoder: ToolFormat = {
  isIn: template => template.includes(begin) && template.includes(parameter.open),
  specials: [open, close],

  *read(input, tools) {
    // Sometimes it leaves out what is around the function.
    for (
      let mark = yield* textUntil(input, [open, begin]);
      mark !== null;
      mark = yield* textUntil(input, [open, begin])
    ) {
      if (mark === open) yield* skipSpace(input)
      if (mark === begin || (yield* skipText(input, begin))) yield* readCall(input, tools)
      else yield { kind: 'content', text: open }
    }
  },

  force(tools, rules, isMany) {
    const calls = tools.map(tool =>
      sequence(literal(`${tool.name}>\n`), argumentsRule(tool, parameter, rules)),
    )
    const call = rules.rule(() => sequence(choice(...calls), literal(`${end}\n${close}`)))
    const opening = `${open}\n${begin}`
    return { opening, rule: sequence(call, isMany ? `(${sequence(literal(`\n${opening}`), call)})*` : '""') }
  },
}

function* readCall(input: Input, tools: readonly OfferedTool[]): Reading {
  const found = yield* skipMatch(input, /^\s*([\w.-]+)\s*>/)
  if (found === null) return yield { kind: 'content', text: begin }
  const name = found[1] as string
  yield { kind: 'call', name }
  yield* bareArguments(input, parameter, toolNamed(name, tools))
  for (const mark of [end, close]) {
    yield* skipSpace(input)
    yield* skipText(input, mark)
  }
  yield* skipSpace(input)
}
