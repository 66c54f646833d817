// Answers as families of models write them, however they are cut into pieces.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as templates from '../../../tests/support/chat-templates.ts'
import { dialectOf } from './dialect.ts'
import type { AnswerEvent } from './input.ts'

interface Told {
  content: string
  reasoning: string
  calls: [string, string][]
}

function told(template: string, pieces: readonly string[], { prompt = '', hasTools = true } = {}): Told {
  const reader = dialectOf(template).read(prompt, hasTools)
  const events: AnswerEvent[] = [...pieces.flatMap(piece => reader.push(piece)), ...reader.end()]
  const result: Told = { content: '', reasoning: '', calls: [] }
  for (const event of events) {
    if (event.kind === 'call') result.calls.push([event.name, ''])
    else if (event.kind === 'arguments') (result.calls.at(-1) as [string, string])[1] += event.text
    else result[event.kind] += event.text
  }
  return result
}

const args = '{"city": "Kö}\\"[ln", "days": [1, {"n": 2}]}'
const other = '{}'
const [begin, end] = ['<｜tool▁calls▁begin｜>', '<｜tool▁calls▁end｜>']
const deepseek = (body: string): string => `<｜tool▁call▁begin｜>${body}<｜tool▁call▁end｜>`

/** Two calls, after a text where the family writes one. */
const written: [string, string, string, string][] = [
  [
    'hermes',
    templates.hermesTemplate,
    'Let me see.',
    `Let me see.\n<tool_call>\n{"name": "f", "arguments": ${args}}\n</tool_call>\n<tool_call>\n{"name": "g", "arguments": ${other}}\n</tool_call>`,
  ],
  [
    'mistral',
    templates.mistralTemplate,
    'Well.',
    `Well.[TOOL_CALLS] [{"name": "f", "arguments": ${args}}, {"name": "g", "arguments": ${other}}]`,
  ],
  [
    'mistral by name',
    templates.mistralNamedTemplate,
    '',
    `[TOOL_CALLS]f[ARGS]${args}[TOOL_CALLS]g[CALL_ID]123[ARGS]${other}`,
  ],
  [
    'llama',
    templates.llamaTemplate,
    '',
    `<|python_tag|>{"name": "f", "parameters": ${args}}; {"name": "g", "parameters": ${other}}`,
  ],
  [
    'deepseek',
    templates.deepseekTemplate,
    'So:',
    `So:\n${begin}${deepseek(`function<｜tool▁sep｜>f\n\`\`\`json\n${args}\n\`\`\``)}\n${deepseek(`function<｜tool▁sep｜>g\n\`\`\`json\n${other}\n\`\`\``)}${end}`,
  ],
  [
    'deepseek 3.1',
    templates.deepseekShortTemplate,
    'So:',
    `So:${begin}${deepseek(`f<｜tool▁sep｜>${args}`)}${deepseek(`g<｜tool▁sep｜>${other}`)}${end}`,
  ],
  [
    'harmony',
    templates.harmonyTemplate,
    '',
    `<|channel|>commentary to=functions.f <|constrain|>json<|message|>${args}<|call|><|start|>assistant to=functions.g<|channel|>commentary<|message|>${other}`,
  ],
]

const cuts = (text: string): fc.Arbitrary<string[]> =>
  fc.array(fc.integer({ min: 1, max: 9 }), { minLength: text.length, maxLength: text.length }).map(sizes => {
    const pieces: string[] = []
    for (let at = 0; at < text.length; ) {
      const size = sizes[pieces.length] as number
      pieces.push(text.slice(at, at + size))
      at += size
    }
    return pieces
  })

describe.each(written)('%s', (_, template, content, text) => {
  test('property: calls are found wherever pieces are cut', () => {
    fc.assert(
      fc.property(cuts(text), pieces => {
        expect(told(template, pieces)).toEqual({
          content,
          reasoning: '',
          calls: [
            ['f', args],
            ['g', other],
          ],
        })
      }),
      { numRuns: 40 },
    )
  })

  test('arguments come before they are over', () => {
    const reader = dialectOf(template).read('', true)
    const at = text.indexOf('days')
    const events = [...text.slice(0, at)].flatMap(piece => reader.push(piece))
    expect(events.flatMap(event => (event.kind === 'arguments' ? event.text : [])).join('')).toBe(
      args.slice(0, args.indexOf('days')),
    )
  })

  test('a text is a text', () => {
    const plain = template === templates.harmonyTemplate ? '<|channel|>final<|message|>' : ''
    for (const said of ['Just {"name": 1} <tool', ' two\n\nlines \n'])
      expect(told(template, [...`${plain}${said}`]).content.trim()).toBe(said.trim())
  })
})

describe('a call as JSON', () => {
  const hermes = (body: string): string => `<tool_call>\n${body}\n</tool_call>`

  test.each(['null', 'true', '-1.5e3', '"{\\"a\\": \\"}\\"}"', '[]'])('whose arguments are %s', value => {
    const text = hermes(`{"name": "f", "arguments": ${value}}`)
    const expected = { content: '', reasoning: '', calls: [['f', value]] }
    expect(told(templates.hermesTemplate, [...text])).toEqual(expected)
    expect(told(templates.hermesTemplate, [text])).toEqual(expected)
  })

  test('which has more members is followed by others', () => {
    const text =
      '{"name": "f", "arguments": {"n": 1}, "id": "a}b", "x": [1]}, {"name": "g", "arguments": {}, "id": null}'
    const calls = [
      ['f', '{"n": 1}'],
      ['g', '{}'],
    ]
    for (const pieces of [[...`[TOOL_CALLS][${text}]`], [`[TOOL_CALLS][${text}]`]])
      expect(told(templates.mistralTemplate, pieces)).toEqual({ content: '', reasoning: '', calls })
  })

  test('has its name as soon as it is written, whatever came before', () => {
    const reader = dialectOf(templates.mistralTemplate).read('', true)
    const text = '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "g", "arguments": {'
    const names = reader.push(text).flatMap(event => (event.kind === 'call' ? event.name : []))
    expect(names).toEqual(['f', 'g'])
  })

  test.each(['\\q', '\\u12', 'a\nb'])('whose name is no text of JSON is none: %j', name => {
    const { content, calls } = told(templates.hermesTemplate, [
      hermes(`{"name": "${name}", "arguments": {}}`),
    ])
    expect(calls).toEqual([])
    expect(content).toContain(name)
  })
})

describe('reasoning', () => {
  const template = templates.thinkingTemplate

  test('comes first, where the prompt or the answer begins it', () => {
    const rest = 'I see: <tool>\n</think>\n\nYes.'
    const expected = { content: 'Yes.', reasoning: 'I see: <tool>\n', calls: [] }
    expect(told(template, [...rest], { prompt: '[assistant]<think>\n' })).toEqual(expected)
    expect(told(template, [...`<think>\n${rest}`])).toEqual(expected)
    expect(told(template, ['Yes.'])).toEqual({ content: 'Yes.', reasoning: '', calls: [] })
    expect(told(template, ['<think>\n\n</think>\n\nYes.'])).toEqual({
      content: 'Yes.',
      reasoning: '',
      calls: [],
    })
  })

  test('that is cut off is reasoning', () => {
    expect(told(template, ['<think>', 'So far'])).toEqual({ content: '', reasoning: 'So far', calls: [] })
  })

  test('goes before calls', () => {
    const text = '<think>Hm</think>\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    expect(told(template, [...text])).toEqual({ content: '', reasoning: 'Hm', calls: [['f', '{}']] })
    expect(told(template, [text], { hasTools: false }).content).toContain('<tool_call>')
  })

  test('is a channel of its own in harmony', () => {
    const text =
      '<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>'
    expect(told(templates.harmonyTemplate, [...text])).toEqual({
      content: 'Yes.',
      reasoning: 'Hm',
      calls: [],
    })
  })
})

test.each([
  ['{{ messages }}', null, false],
  ['<tool_call><function=f><parameter=x>', null, false], // XML, which is not known here
  [templates.hermesTemplate, 'hermes', false],
  [templates.thinkingTemplate, 'hermes', true],
])('a dialect shows in the template: %#', (template, tools, hasReasoning) => {
  const dialect = dialectOf(template)
  expect([dialect.tools === null, dialect.hasReasoning]).toEqual([tools === null, hasReasoning])
})
