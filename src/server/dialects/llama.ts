// Llama 3.1: the whole answer is `{"name": "f", "parameters": {...}}`, after `<|python_tag|>` or without; several have `;` between.

import { choice } from '../../engine/index.ts'
import { type Input, type Reading, skipSpace, skipText, textUntil } from './input.ts'
import { jsonCall } from './json-call.ts'
import { callObject, type ToolFormat } from './tool-format.ts'

const tag = '<|python_tag|>'

export const llama: ToolFormat = {
  isIn: template => /"parameters"/.test(template) && /"name"/.test(template) && template.includes('ipython'),
  specials: [tag],

  *read(input) {
    if (!(yield* skipSpace(input))) return
    yield* skipText(input, tag)
    yield* readCalls(input)
    yield* textUntil(input, [])
  },

  force(tools, rules) {
    return {
      opening: '',
      rule: rules.rule(() => choice(...tools.map(tool => callObject('parameters', tool)))),
    }
  },
}

function* readCalls(input: Input): Reading {
  while (yield* skipSpace(input)) {
    if (!input.text.startsWith('{') || !(yield* jsonCall(input))) return
    yield* skipSpace(input)
    if (!(yield* skipText(input, ';'))) return
  }
}
