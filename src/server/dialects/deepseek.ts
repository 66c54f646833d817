// DeepSeek: V3 and R1 write each call as its type, its name and a block of JSON, V3.1 as its name and JSON.

import { choice, literal, sequence } from '../../engine/index.ts'
import { type Input, type Reading, skipMatch, skipSpace, skipText, textUntil } from './input.ts'
import { jsonArguments } from './json-call.ts'
import type { CallableTool, ToolFormat } from './tool-format.ts'

const mark = (name: string): string => `<\uff5ctool\u2581${name}\uff5c>`
const [begin, end] = [mark('calls\u2581begin'), mark('calls\u2581end')]
const [open, close, between] = [mark('call\u2581begin'), mark('call\u2581end'), mark('sep')]
const [fence, closed] = ['```json\n', '\n```']

function formatOf(isIn: ToolFormat['isIn'], head: string, tail: string, callRule: CallRule): ToolFormat {
  return {
    isIn,
    specials: [begin, end, open, close, between],
    *read(input) {
      while ((yield* textUntil(input, [begin])) !== null) yield* readCalls(input)
    },
    force(tools, rules, isMany) {
      const call = rules.rule(() => choice(...tools.map(callRule)))
      const more = sequence(literal(`${tail}${close}${open}${head}`), call)
      return {
        opening: `${begin}${open}${head}`,
        rule: sequence(call, isMany ? `(${more})*` : '""', literal(`${tail}${close}${end}`)),
      }
    },
  }
}

type CallRule = (tool: CallableTool) => string

/** `function<sep>f\n```json\n{...}\n``` ` */
export const deepseek = formatOf(
  template => template.includes(begin) && template.includes('```json'),
  `function${between}`,
  closed,
  ({ name, rule }) => sequence(literal(`${name}\n${fence}`), rule()),
)

/** `f<sep>{...}` */
export const deepseekShort = formatOf(
  template => template.includes(begin) && !template.includes('```json'),
  '',
  '',
  ({ name, rule }) => sequence(literal(`${name}${between}`), rule()),
)

function* readCalls(input: Input): Reading {
  for (;;) {
    yield* skipSpace(input)
    if (!(yield* skipText(input, open))) break
    const found = yield* skipMatch(
      input,
      new RegExp(`^([^<]*)${between}(?:([\\w.-]+)\\s*\`\`\`json\\s*|(?=\\s*\\{))`),
    )
    if (found === null) break
    yield { kind: 'call', name: (found[2] ?? found[1] ?? '').trim() }
    yield* jsonArguments(input)
    yield* skipMatch(input, new RegExp(`^\\s*(?:\`\`\`)?\\s*${close}`))
  }
  yield* skipText(input, end)
}
