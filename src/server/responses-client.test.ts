// What the openai package gets of /v1/responses.
import type OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { hermesTemplate, thinkingTemplate } from '../../tests/support/chat-templates.ts'
import { servedApp } from '../../tests/support/served-app.ts'
import { KeptResponses } from './openai/kept-responses.ts'

const { engine, clientOf, post, templated, scripted } = await servedApp()
const client = clientOf()
const asked = { model: 'tiny', temperature: 0, max_output_tokens: 12 }

/** What the engine writes for it. */
async function written(prompt: string): Promise<string> {
  let text = ''
  const request = { prompt, temperature: 0, maxNewTokens: 12, isTemplated: true }
  for await (const part of engine.generate(request)) text += part.text
  return text
}

test('an answer is what the engine writes', async () => {
  const answer = await client.responses.create({ ...asked, input: 'Hello', instructions: 'Be brief' })
  expect(answer.output_text).toBe(await written('[system] Be brief\n[user] Hello\n[assistant]'))
  expect(answer).toMatchObject({
    object: 'response',
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' },
    instructions: 'Be brief',
    usage: { output_tokens: 12, input_tokens_details: { cached_tokens: 0 } },
  })
})

test('a conversation goes on from an answer, whose instructions it does not have', async () => {
  const first = await client.responses.create({ ...asked, input: 'Hello', instructions: 'Be brief' })
  const second = await client.responses.create({
    ...asked,
    previous_response_id: first.id,
    input: [{ role: 'user', content: [{ type: 'input_text', text: 'More' }] }],
  })
  const before = `[user] Hello\n[assistant] ${first.output_text}\n`
  expect(second.output_text).toBe(await written(`${before}[user] More\n[assistant]`))
  expect(await client.responses.retrieve(first.id)).toMatchObject({ id: first.id, output: first.output })
  const all = [
    { role: 'user' as const, content: 'Hello' },
    ...first.output,
    { role: 'user' as const, content: 'More' },
  ]
  const whole = await client.responses.create({ ...asked, input: all as never }) // as clients that keep it themselves
  expect(whole.output_text).toBe(second.output_text)
})

test('streams the same, in the events that clients know', async () => {
  const stream = client.responses.stream({ ...asked, input: 'Hello' })
  const kinds: string[] = []
  let text = ''
  for await (const event of stream) {
    expect(event.sequence_number).toBe(kinds.length)
    kinds.push(event.type)
    if (event.type === 'response.output_text.delta') text += event.delta
    if (event.type === 'response.output_item.done') expect(event.item).toMatchObject({ status: 'incomplete' })
  }
  const answer = await stream.finalResponse()
  expect(text).toBe(await written('[user] Hello\n[assistant]'))
  expect(answer.output_text).toBe(text)
  expect(kinds.slice(0, 4)).toEqual([
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
  ])
  expect(kinds.slice(-4)).toEqual([
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.incomplete',
  ])
  expect((await client.responses.retrieve(answer.id)).output_text).toBe(text)
})

const call = '<tool_call>\n{"name": "add", "arguments": {"a": 5, "b": 7}}\n</tool_call>'
const tools = [
  {
    ...{ type: 'function' as const, name: 'add', strict: true },
    parameters: { type: 'object', properties: { a: { type: 'integer' }, b: { type: 'integer' } } },
  },
]

describe('functions', () => {
  test.each([false, true])('are called, and what they gave is told by name, streaming: %j', async streams => {
    const by = scripted(`Let me see.${call}`, 'It is 12.')
    const calling = templated(hermesTemplate, by)
    const create = async (body: object): Promise<OpenAI.Responses.Response> => {
      const request = { ...asked, tools, ...body }
      if (!streams) return calling.responses.create(request as never)
      return calling.responses.stream(request as never).finalResponse()
    }
    const first = await create({ input: 'What is 5 + 7?' })
    expect(first).toMatchObject({
      status: 'completed',
      output: [
        { type: 'message', content: [{ type: 'output_text', text: 'Let me see.' }] },
        { type: 'function_call', name: 'add', status: 'completed' },
      ],
    })
    const [, made] = first.output as [unknown, OpenAI.Responses.ResponseFunctionToolCall]
    expect(JSON.parse(made.arguments)).toEqual({ a: 5, b: 7 })
    const output = { type: 'function_call_output', call_id: made.call_id, output: '12' }
    const second = await create({ input: [output], previous_response_id: first.id })
    expect(second.output_text).toBe('It is 12.')
    const said = String(by.asked[1]?.prompt)
    expect(said).toContain('What is 5 + 7?')
    expect(said.indexOf('"add"')).toBeLessThan(said.lastIndexOf('12'))
    const whole = scripted('It is 12.') // the same from a client that keeps the conversation itself
    const input = [{ role: 'user', content: 'What is 5 + 7?' }, ...first.output, output]
    await templated(hermesTemplate, whole).responses.create({ ...asked, tools, input } as never)
    expect(whole.asked[0]?.prompt).toBe(said)
  })

  test('that must be called are, with arguments of their schema', async () => {
    const response = await templated(hermesTemplate).responses.create({
      ...{ model: 'tiny', temperature: 1.5, max_output_tokens: 300, input: 'Hello', tools },
      ...{ tool_choice: 'required', parallel_tool_calls: false },
    } as never)
    const [made] = (response as OpenAI.Responses.Response).output
    expect(made).toMatchObject({ type: 'function_call', name: 'add' })
  })
})

test('an answer is held to a schema', async () => {
  const schema = { type: 'object', properties: { name: { enum: ['Ada', 'Bob'] } }, required: ['name'] }
  const response = await client.responses.create({
    ...{ model: 'tiny', temperature: 1.5, max_output_tokens: 100, input: 'Who?' },
    text: { format: { type: 'json_schema', name: 'person', schema, strict: true } },
  })
  expect(['Ada', 'Bob']).toContain(JSON.parse(response.output_text).name)
})

test('reasoning is an item of its own, and is not read again', async () => {
  const by = scripted('<think>\nWell.\n</think>\n\nYes.', 'No.')
  const thinking = templated(thinkingTemplate, by)
  const first = await thinking.responses.create({ ...asked, input: 'Is it?' })
  expect(first.output.map(({ type }) => type)).toEqual(['reasoning', 'message'])
  expect(first.output_text).toBe('Yes.')
  expect(first.usage?.output_tokens_details.reasoning_tokens).toBeGreaterThan(0)
  await thinking.responses.create({ ...asked, input: 'Sure?', previous_response_id: first.id })
  expect(by.asked[1]?.prompt).not.toContain('Well.')
})

test('what is not kept is not there', async () => {
  const forgotten = await client.responses.create({ ...asked, input: 'Hello', store: false })
  const deleted = await client.responses.create({ ...asked, input: 'Hello' })
  await client.responses.delete(deleted.id)
  for (const { id } of [forgotten, deleted, { id: 'resp_none' }]) {
    await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 })
    await expect(
      client.responses.create({ ...asked, input: 'x', previous_response_id: id }),
    ).rejects.toMatchObject({
      status: 400,
      param: 'previous_response_id',
      code: 'previous_response_not_found',
    })
  }
})

test.each([
  [{ input: 'x', background: true }, 'background', 'unsupported_parameter'],
  [{ input: 'x', tools: [{ type: 'web_search' }] }, 'tools[0].type', 'invalid_value'],
  [{ input: 'x', tools: [{ type: 'function', name: 'add' }] }, 'tools', 'invalid_value'], // its template has none
  [{ input: [] }, 'input', 'invalid_value'],
  [{ input: [{ role: 'user', content: [{ type: 'input_image' }] }] }, 'input', 'invalid_value'],
  [{ input: 'x'.repeat(2000) }, 'input', 'context_length_exceeded'],
  [{ input: 'x', text: { format: { type: 'yaml' } } }, 'text.format.type', 'invalid_value'],
  [{ input: 'x', reasoning: { effort: 'high' } }, 'reasoning_effort', 'invalid_value'],
] as const)('%j is refused', async (body, param, code) => {
  const response = await post('/v1/responses', body)
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({ error: { param, code } })
})

test('those that were used longest ago go first, and nobody finds those of another key', () => {
  const kept = new KeptResponses()
  const keep = (id: string, key: string, length: number): void =>
    kept.keep({ key, messages: [], body: { id, tools: 'x'.repeat(length) } as { id: string } })
  const third = 6 * 2 ** 20
  for (const id of ['a', 'b']) keep(id, 'one', third)
  expect(kept.find('a', 'two')).toBeUndefined()
  expect(kept.delete('a', 'two')).toBe(false)
  expect(kept.find('a', 'one')).toBeDefined()
  keep('c', 'one', third)
  expect(['a', 'b', 'c'].map(id => kept.find(id, 'one')?.body.id)).toEqual(['a', undefined, 'c'])
})
