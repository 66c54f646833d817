// GLM 4.5 and later: `<tool_call>f\n<arg_key>x</arg_key>\n<arg_value>value</arg_value>\n</tool_call>`.

import { choice, literal, sequence } from '../../engine/index.ts'
import { type ArgumentForm, argumentsRule, bareArguments } from './bare-arguments.ts'
import { type Input, type Reading, skipMatch, skipSpace, skipText, textUntil } from './input.ts'
import { type OfferedTool, type ToolFormat, toolNamed } from './tool-format.ts'

const [open, close] = ['<tool_call>', '</tool_call>']

const argument: ArgumentForm = {
  head: name => `<arg_key>${name}</arg_key>\n<arg_value>`,
  ...{ open: '<arg_key>', name: /^([^<]*)<\/arg_key>\s*<arg_value>/, edge: '', close: '</arg_value>' },
}

export const glm: ToolFormat = {
  isIn: template => template.includes(open) && template.includes(argument.open),
  specials: [open, close, argument.open, '</arg_key>', '<arg_value>', argument.close],

  *read(input, tools) {
    while ((yield* textUntil(input, [open])) !== null) yield* readCall(input, tools)
  },

  force(tools, rules, isMany) {
    const calls = tools.map(tool => sequence(literal(`${tool.name}\n`), argumentsRule(tool, argument, rules)))
    const call = rules.rule(() => sequence(choice(...calls), literal(close)))
    return {
      opening: open,
      rule: sequence(call, isMany ? `(${sequence(literal(`\n${open}`), call)})*` : '""'),
    }
  },
}

function* readCall(input: Input, tools: readonly OfferedTool[]): Reading {
  const found = yield* skipMatch(input, /^\s*([\w.-]+)\s*(?=<)/)
  if (found === null) return yield { kind: 'content', text: open }
  const name = found[1] as string
  yield { kind: 'call', name }
  yield* bareArguments(input, argument, toolNamed(name, tools))
  yield* skipText(input, close)
  yield* skipSpace(input)
}
