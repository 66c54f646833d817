// Tools, reasoning and forms of answers, by models of each family: of a random model where a form holds it to something, else
// of an engine that writes what it is told.
import type OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import * as templates from '../../../tests/support/chat-templates.ts'
import { greedy, messages, servedApp } from '../../../tests/support/served-app.ts'

const { templated, scripted, clientOf } = await servedApp()

const tool = (name: string, property: string, schema: object): OpenAI.ChatCompletionFunctionTool => ({
  type: 'function',
  function: {
    name,
    description: `The ${name}`,
    parameters: {
      type: 'object',
      properties: { [property]: schema },
      required: [property],
      additionalProperties: false,
    },
  },
})
const tools = [tool('weather', 'city', { enum: ['Rome', 'Oslo'] }), tool('add', 'n', { type: 'integer' })]
const random = { model: 'tiny', messages, max_tokens: 300, temperature: 1.5 }

const families = Object.entries(templates).filter(([name]) => name !== 'chatTemplate')

interface Asked {
  name: string
  arguments: Record<string, unknown>
}

const callsOf = ({ tool_calls = [] }: OpenAI.ChatCompletionMessage): Asked[] =>
  tool_calls.map(call => {
    if (call.type !== 'function') throw new Error(call.type)
    return { name: call.function.name, arguments: JSON.parse(call.function.arguments) as Asked['arguments'] }
  })

function expectCall({ name, arguments: args }: Asked): void {
  if (name === 'weather') expect(['Rome', 'Oslo']).toContain(args.city)
  else expect([name, Number.isInteger(args.n)]).toEqual(['add', true])
  expect(Object.keys(args).length).toBe(1)
}

describe.each(families)('%s', (_, template) => {
  const client = templated(template)
  const id = 'functions.add:0' // as Kimi has them, which knows the name by it
  const inXml = '<parameter=n>\\n5\\n</parameter>|<arg_key>n</arg_key>\\n<arg_value>5</arg_value>'
  const writtenCall = new RegExp(`add.*(\\{"n": 5\\}|${inXml}).*\\[tool\\] six`, 's')

  test('a call that is demanded is one, of a random model', async () => {
    for (const seed of [1, 2]) {
      const request = { ...random, tools, seed, parallel_tool_calls: false }
      const any = await client.chat.completions.create({ ...request, tool_choice: 'required' })
      expect(any.choices[0]).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } })
      const [call, ...more] = callsOf(any.choices[0]?.message as OpenAI.ChatCompletionMessage)
      expectCall(call as Asked)
      expect(more).toEqual([])
    }
    const tool_choice = { type: 'function' as const, function: { name: 'add' } }
    const { choices } = await client.chat.completions.create({ ...random, tools, seed: 3, tool_choice })
    const calls = callsOf(choices[0]?.message as OpenAI.ChatCompletionMessage)
    expect(calls.map(({ name }) => name)).toEqual(['add'])
    expectCall(calls[0] as Asked)
  })

  test('streamed calls are the whole ones', async () => {
    const request = {
      ...random,
      tools,
      seed: 5,
      tool_choice: 'required' as const,
      parallel_tool_calls: false,
    }
    const whole = await client.chat.completions.create(request)
    const deltas: OpenAI.ChatCompletionChunk.Choice.Delta[] = []
    const reasons: (string | null)[] = []
    for await (const { choices } of await client.chat.completions.create({ ...request, stream: true })) {
      deltas.push(...choices.map(choice => choice.delta))
      reasons.push(...choices.map(choice => choice.finish_reason))
    }
    const calls = deltas.flatMap(delta => delta.tool_calls ?? [])
    expect(calls.every(call => call.index === 0 && typeof call.function?.arguments === 'string')).toBe(true)
    expect(calls[0]).toMatchObject({
      id: expect.stringMatching(/^([a-zA-Z0-9]{9}|functions\.\w+:\d+)$/),
      type: 'function',
      function: { arguments: '' },
    })
    expect(calls.slice(1).some(call => call.id || call.function?.name)).toBe(false)
    expect(reasons.filter(reason => reason)).toEqual(['tool_calls'])
    const [first] = whole.choices[0]?.message.tool_calls ?? []
    const { name, arguments: args } = (first as OpenAI.ChatCompletionMessageFunctionToolCall).function
    expect(calls[0]?.function?.name).toBe(name)
    expect(calls.map(call => call.function?.arguments).join('')).toBe(args)
  })

  test('an answer is held to a schema', async () => {
    const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] }
    const { choices } = await client.chat.completions.create({
      ...random,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema, strict: true } },
    })
    expect(typeof (JSON.parse(choices[0]?.message.content ?? '') as { ok: boolean }).ok).toBe('boolean')
    expect(choices[0]?.finish_reason).toBe('stop')
  })

  test('what was called and came of it is in the next prompt', async () => {
    const engine = scripted('done')
    await templated(template, engine).chat.completions.create({
      ...{ ...greedy, tools },
      messages: [
        ...messages,
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id, type: 'function', function: { name: 'add', arguments: '{"n": 5}' } }],
        },
        { role: 'tool', tool_call_id: id, content: 'six' },
      ],
    })
    const [{ prompt } = {}] = engine.asked
    expect(prompt).toMatch(/"description": "The weather"/)
    expect(prompt).toMatch(writtenCall)
  })
})

describe('of a free text', () => {
  const text =
    '<think>\nHm.\n</think>\n\nI look.\n<tool_call>\n{"name": "add", "arguments": {"n": 1}}\n</tool_call>\n<tool_call>\n{"name": "add", "arguments": {"n": 2}}\n</tool_call>'
  const ask = (fields: object = {}) =>
    templated(templates.thinkingTemplate, scripted(text)).chat.completions.create({
      ...greedy,
      messages,
      tools,
      ...fields,
    })

  test('reasoning, content and calls are told apart', async () => {
    const { choices, usage } = await ask()
    expect(choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { content: 'I look.', reasoning_content: 'Hm.\n' },
    })
    expect(
      callsOf(choices[0]?.message as OpenAI.ChatCompletionMessage).map(call => call.arguments.n),
    ).toEqual([1, 2])
    const count = usage?.completion_tokens_details?.reasoning_tokens ?? 0
    expect(count).toBeGreaterThan(2)
    expect(count).toBeLessThan(12)
  })

  test('one call at a time', async () => {
    const { choices } = await ask({ parallel_tool_calls: false })
    expect(
      callsOf(choices[0]?.message as OpenAI.ChatCompletionMessage).map(call => call.arguments.n),
    ).toEqual([1])
  })

  test('without tools, or with none to choose, it is text', async () => {
    for (const fields of [{ tools: undefined }, { tool_choice: 'none' }]) {
      const { choices } = await ask(fields)
      expect(choices[0]?.finish_reason).toBe('stop')
      expect(choices[0]?.message.content).toContain('<tool_call>')
    }
  })
})

test('texts without quotes are held to those that a schema names, and refused where it wants a form', async () => {
  const properties = {
    kind: { enum: ['a b', 'c<d'] },
    note: { anyOf: [{ type: 'string' }, { type: 'null' }] },
    at: { type: 'array', items: { type: 'integer' }, minItems: 2, maxItems: 2 },
  }
  for (const template of [templates.qwenCoderTemplate, templates.glmTemplate]) {
    const ask = (note: object) =>
      templated(template).chat.completions.create({
        ...{
          ...random,
          parallel_tool_calls: false,
          tool_choice: 'required',
          logit_bias: { 13: 20, 50: 20, 63: 20 },
        }, // line feed, / and <
        tools: [
          {
            type: 'function',
            function: {
              name: 'f',
              parameters: { type: 'object', properties: { ...properties, note }, required: ['kind', 'at'] },
            },
          },
        ],
      })
    const { choices } = await ask(properties.note)
    const [call] = callsOf(choices[0]?.message as OpenAI.ChatCompletionMessage)
    expect(['a b', 'c<d']).toContain(call?.arguments.kind)
    expect(call?.arguments.at).toMatchObject([expect.any(Number), expect.any(Number)])
    await expect(ask({ type: 'string', maxLength: 3 })).rejects.toMatchObject({
      status: 400,
      param: 'tools[0].function.parameters.properties.note.maxLength',
    })
  }
})

test('fields that clients leave empty are left out, and names reach the template', async () => {
  const engine = scripted('')
  const template = `{% for m in messages %}{{ m.role }} {{ m.name }}: {{ m.content }};{% endfor %}{{ tools | tojson }}{# tools #}<tool_call>`
  const fn = { name: 'f', description: null, parameters: null, strict: null }
  await templated(template, engine).chat.completions.create({
    ...greedy,
    messages: [
      { role: 'user', name: 'Ada', content: 'Hello' },
      { role: 'assistant', name: 'Bob', content: 'Hi' },
      { role: 'user', name: null, content: 'x' },
    ],
    tools: [{ type: 'function', function: fn }],
    stream_options: null,
    switchyard: { deadline_ms: null },
  } as never)
  expect(engine.asked[0]?.prompt).toBe(
    'user Ada: Hello;assistant Bob: Hi;user : x;[{"type": "function", "function": {"name": "f"}}]<tool_call>',
  )
})

test('JSON mode gives an object', async () => {
  const wanted = { response_format: { type: 'json_object' as const }, logit_bias: { 128: 20 } } // 128: }
  const { choices } = await clientOf().chat.completions.create({ ...random, ...wanted })
  expect(typeof JSON.parse(choices[0]?.message.content ?? '')).toBe('object')
})

test('what templates take beside messages reaches them', async () => {
  const engine = scripted('', '')
  await templated(templates.harmonyTemplate, engine).chat.completions.create({
    ...greedy,
    messages,
    reasoning_effort: 'high',
  })
  expect(engine.asked[0]?.prompt).toContain('Reasoning: high')
  const fields = { chat_template_kwargs: { enable_thinking: false } } as object
  await templated(templates.thinkingTemplate, engine).chat.completions.create({
    ...greedy,
    messages,
    ...fields,
  })
  expect(engine.asked[1]?.prompt).not.toContain('<think>')
})

describe('is refused', () => {
  const choose = (name: string) => ({ type: 'function' as const, function: { name } })
  const json_schema = { name: 'x', schema: { type: 'object', properties: { a: { not: {} } } } }
  test.each<[string, object, string]>([
    ['tools', { tools }, "tools: the model's chat template has no tools"],
    ['tool_choice', { tool_choice: 'required' }, 'tool_choice: needs tools'],
    [
      'reasoning_effort',
      { reasoning_effort: 'low' },
      "reasoning_effort: the model's chat template takes none",
    ],
    ['chat_template_kwargs.x', { chat_template_kwargs: { x: 1 } }, "chat_template_kwargs.x: the model's"],
    [
      'chat_template_kwargs.messages',
      { chat_template_kwargs: { messages: 1 } },
      'chat_template_kwargs.messages',
    ],
    [
      'response_format.json_schema.schema.properties.a.not',
      { response_format: { type: 'json_schema', json_schema } },
      'cannot be held to',
    ],
    [
      'response_format', // two million characters as a grammar
      {
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'x', schema: { properties: { ['é'.repeat(60_000)]: {} } } },
        },
      },
      'at most 1048576 are taken',
    ],
    ['response_format.json_schema', { response_format: { type: 'json_schema' } }, 'is missing'],
  ])('%s', async (param, fields, message) => {
    const asked = clientOf().chat.completions.create({ ...greedy, messages, ...fields } as never)
    await expect(asked).rejects.toMatchObject({
      status: 400,
      param,
      message: expect.stringContaining(message),
    })
  })

  test.each<[string, object, string]>([
    ['tool_choice', { tools, tool_choice: choose('other') }, "there is no function 'other' in tools"],
    ['response_format', { tools, response_format: { type: 'json_object' } }, 'does not go with tools'],
    ['tools[0].function.name', { tools: [tool('a b', 'x', {})] }, 'must be 1 to 64 letters'],
    [
      'tools[0].function.parameters.properties.x.multipleOf',
      { tools: [tool('f', 'x', { type: 'integer', multipleOf: 2 })], tool_choice: 'required' },
      'cannot be held to',
    ],
    [
      'tools[2].function.parameters.properties.x.maxLength', // each alone would be taken
      {
        tools: ['f', 'g', 'h'].map(name => tool(name, 'x', { type: 'string', maxLength: 6000 })),
        tool_choice: 'required',
      },
      'makes the schema as costly as',
    ],
    ['tools', { tools: new Array(129).fill(tools[0]) }, 'at most 128'],
  ])('%s', async (param, fields, message) => {
    const asked = templated(templates.hermesTemplate).chat.completions.create({
      ...greedy,
      messages,
      ...fields,
    } as never)
    await expect(asked).rejects.toMatchObject({
      status: 400,
      param,
      message: expect.stringContaining(message),
    })
  })

  test('a template that takes too long', async () => {
    const asked = templated(
      '{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}',
    ).chat.completions.create({ ...greedy, messages })
    await expect(asked).rejects.toMatchObject({
      status: 400,
      param: 'messages',
      message: expect.stringContaining('it takes longer than 2 s'),
    })
  })
})
