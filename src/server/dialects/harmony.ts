// gpt-oss: messages in channels. Reasoning is in `analysis`, the answer in `final`, calls in `commentary` to a function:
// `<|channel|>commentary to=functions.f <|constrain|>json<|message|>{...}<|call|>`.

import { choice, literal, sequence } from '../../engine/index.ts'
import { type Input, type Reading, textUntil } from './input.ts'
import type { ToolFormat } from './tool-format.ts'

const [channel, message, constrain] = ['<|channel|>', '<|message|>', '<|constrain|>']
const [end, start, call, stop] = ['<|end|>', '<|start|>', '<|call|>', '<|return|>']

/** What the answer itself begins with. */
export const finalOpening = `${channel}final${message}`

export const harmony: ToolFormat = {
  isIn: template => template.includes(channel) && template.includes('to=functions.'),
  specials: [channel, message, constrain, end, start, call, stop],
  stops: [call],

  *read(input) {
    for (;;) {
      const header = yield* headerOf(input)
      if (header === null) return yield* readRest(input)
      yield* readMessage(input, header)
    }
  },

  force(tools, rules) {
    const opening = `${channel}commentary to=functions.`
    const format = ` ${constrain}json${message}`
    const [first, ...others] = tools
    if (first && others.length === 0)
      return { opening: `${opening}${first.name}${format}`, rule: first.rule() }
    const calls = tools.map(({ name, rule }) => sequence(literal(`${name}${format}`), rule()))
    return { opening, rule: rules.rule(() => choice(...calls)) }
  },
}

/** What stands before a message; null at the end. */
function* headerOf(input: Input): Reading<string | null> {
  for (;;) {
    const at = input.text.indexOf(message)
    if (at >= 0) return input.take(at + message.length)
    if (input.isOver) return null
    yield null
  }
}

/** An answer in no channel is a text all the same; what begins a message that was cut off is none. */
function* readRest(input: Input): Reading {
  const isHeader = harmony.specials.some(mark => input.text.includes(mark)) || /^\s*to=/.test(input.text)
  const text = input.take(input.text.length)
  if (!isHeader && text !== '') yield { kind: 'content', text }
}

function* readMessage(input: Input, header: string): Reading {
  const name = /to=functions\.([\w.-]+)/.exec(header)?.[1]
  if (name !== undefined) {
    yield { kind: 'call', name }
    yield* textUntil(input, [end, call, stop], 'arguments')
  } else yield* textUntil(input, [end, stop], header.includes('analysis') ? 'reasoning' : 'content')
}
