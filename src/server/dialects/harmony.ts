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
      if (header === null) return
      yield* readMessage(input, header)
    }
  },

  force(tools, rules) {
    const opening = `${channel}commentary to=functions.`
    const format = ` ${constrain}json${message}`
    const [first, ...others] = tools
    if (first && others.length === 0)
      return { opening: `${opening}${first.name}${format}`, rule: first.argumentsRule }
    const calls = tools.map(({ name, argumentsRule }) => sequence(literal(`${name}${format}`), argumentsRule))
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

function* readMessage(input: Input, header: string): Reading {
  const name = /to=functions\.([\w.-]+)/.exec(header)?.[1]
  if (name !== undefined) {
    yield { kind: 'call', name }
    for (const event of textUntil(input, [end, call, stop])) yield asArguments(event)
  } else yield* textUntil(input, [end, stop], header.includes('analysis') ? 'reasoning' : 'content')
}

const asArguments = <T extends { kind: string } | null>(event: T): T =>
  event === null ? event : { ...event, kind: 'arguments' }
