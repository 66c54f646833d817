// Answers as families of models write them, however they are cut into pieces.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as templates from '../../../tests/support/chat-templates.ts'
import { dialectOf } from './dialect.ts'
import type { AnswerEvent } from './input.ts'
import type { OfferedTool } from './tool-format.ts'

const offered: OfferedTool[] = ['f', 'g'].map(name => ({
  name,
  parameters: { properties: { city: { type: 'string' }, days: { type: 'array' } } },
}))

interface Told {
  content: string
  reasoning: string
  calls: [string, string][]
}

function told(template: string, pieces: readonly string[], { prompt = '', tools = offered } = {}): Told {
  const reader = dialectOf(template).read(prompt, tools)
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
    'qwen coder',
    templates.qwenCoderTemplate,
    'So:',
    `So:\n<tool_call>\n<function=f>\n<parameter=city>\nKö}"[ln\n</parameter>\n<parameter=days>\n[1, {"n": 2}]\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=g>\n</function>\n</tool_call>`,
  ],
  [
    'glm',
    templates.glmTemplate,
    'So:',
    `So:\n<tool_call>f\n<arg_key>city</arg_key>\n<arg_value>Kö}"[ln</arg_value>\n<arg_key>days</arg_key>\n<arg_value>[1, {"n": 2}]</arg_value>\n</tool_call>\n<tool_call>g\n</tool_call>`,
  ],
  [
    'kimi',
    templates.kimiTemplate,
    'So:',
    `So:<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>${args}<|tool_call_end|><|tool_call_begin|>functions.g:1<|tool_call_argument_begin|>${other}<|tool_call_end|><|tool_calls_section_end|>`,
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
    const reader = dialectOf(template).read('', offered)
    const at = text.indexOf('days')
    const events = [...text.slice(0, at)].flatMap(piece => reader.push(piece))
    const come = events.flatMap(event => (event.kind === 'arguments' ? event.text : [])).join('')
    expect(args).toContain(come)
    expect(come).toContain('Kö}\\"[ln"')
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

  test.each([
    '{"id": "a\\"name\\": 1", "name": "f", "arguments": {"n": 1}}',
    '{"type": "function", "n": -1.5, "name": "f", "ok": true, "parameters": {"n": 1}, "x": null}',
  ])('which has others before: %s', body => {
    const expected = { content: '', reasoning: '', calls: [['f', '{"n": 1}']] }
    for (const pieces of [[...hermes(body)], [hermes(body)]])
      expect(told(templates.hermesTemplate, pieces)).toEqual(expected)
  })

  test('has its name as soon as it is written, whatever came before', () => {
    const reader = dialectOf(templates.mistralTemplate).read('', offered)
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

describe('arguments without quotes', () => {
  const parameters = {
    properties: {
      text: { type: 'string' },
      some: { anyOf: [{ type: 'string' }, { type: 'null' }] },
      size: { $ref: '#/$defs/Size' },
      n: { type: 'integer' },
      is: { type: ['boolean', 'null'] },
      list: { items: { type: 'string' } },
      not: { const: 5 },
      beside: { type: 'string', anyOf: [{ minLength: 1 }, { enum: ['7'] }] },
      all: { allOf: [{ $ref: '#/$defs/Number' }, { minimum: 0 }], default: 1 },
      many: { $ref: '#/$defs/Many' },
    },
    $defs: {
      Size: { enum: ['1', '2'] },
      Number: { type: 'number' },
      Many: {
        anyOf: [...Array.from({ length: 200 }, () => ({ $ref: '#/$defs/Many' })), { type: 'integer' }],
      },
    },
  }
  const call = (name: string, value: string): [string, string][] => [
    [
      templates.qwenCoderTemplate,
      `<tool_call>\n<function=f>\n<parameter=${name}>\n${value}\n</parameter>\n</function>\n</tool_call>`,
    ],
    [
      templates.glmTemplate,
      `<tool_call>f\n<arg_key>${name}</arg_key>\n<arg_value>${value}</arg_value>\n</tool_call>`,
    ],
  ]

  test.each<[string, string, unknown]>([
    ['text', '5', '5'],
    ['text', 'true\n\n<b> </para "x" \\', 'true\n\n<b> </para "x" \\'],
    ['text', '', ''],
    ['some', 'null', null],
    ['some', 'nullable', 'nullable'],
    ['size', '2', '2'],
    ['n', '-12', -12],
    ['n', 'many', 'many'], // which is wrong, and the caller's to see
    ['is', 'True', true],
    ['is', 'None', null],
    ['list', '["a", "</b>"]', ['a', '</b>']],
    ['not', '5', 5],
    ['beside', '7', '7'],
    ['all', '7', 7],
    ['many', '7', 7], // alternatives of alternatives, of which only so many are looked at
    ['other', '{"a": 1}', '{"a": 1}'], // nothing is known of it
  ])('%s: %j', (name, value, expected) => {
    for (const [template, text] of call(name, value))
      for (const pieces of [[...text], [text]]) {
        const [[, args] = ['', '']] = told(template, pieces, { tools: [{ name: 'f', parameters }] }).calls
        expect(JSON.parse(args)).toEqual({ [name]: expected })
      }
  })

  test('are not closed where they are cut off', () => {
    for (const [template, text] of call('text', 'so far'))
      expect(
        told(template, [text.slice(0, text.indexOf(' far'))], { tools: [{ name: 'f', parameters }] }).calls,
      ).toEqual([['f', '{"text": "so']])
  })

  test('what is around a function may be missing, and a mark alone is text', () => {
    const [[template, text = ''] = ['']] = call('n', '1')
    const bare = text.replace('<tool_call>\n', '')
    expect(told(template, [...bare], { tools: [{ name: 'f', parameters }] }).calls).toEqual([
      ['f', '{"n": 1}'],
    ])
    expect(told(template, [...'a <tool_call> b']).content).toBe('a <tool_call>b')
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
    expect(told(template, [text], { tools: [] }).content).toContain('<tool_call>')
  })

  test('an answer in no channel of harmony is a text, and the head of a message is none', () => {
    const template = templates.harmonyTemplate
    expect(told(template, [...'Yes, I do.']).content).toBe('Yes, I do.')
    for (const head of ['<|channel|>anal', ' to=functions.f<|cha', 'to=func'])
      expect(told(template, [head])).toEqual({ content: '', reasoning: '', calls: [] })
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
  ['<minimax:tool_call><invoke name="f">', null, false], // XML that is not known here
  [templates.qwenCoderTemplate, 'qwen coder', false],
  [templates.hermesTemplate, 'hermes', false],
  [templates.thinkingTemplate, 'hermes', true],
])('a dialect shows in the template: %#', (template, tools, hasReasoning) => {
  const dialect = dialectOf(template)
  expect([dialect.tools === null, dialect.hasReasoning]).toEqual([tools === null, hasReasoning])
})
