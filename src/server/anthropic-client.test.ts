// What the @anthropic-ai/sdk package gets.
import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test } from 'vitest'
import { hermesTemplate, thinkingTemplate } from '../../tests/support/chat-templates.ts'
import { servedApp } from '../../tests/support/served-app.ts'
import type { TextEngine } from '../engine/index.ts'
import type { AppOptions } from './index.ts'

const { engine, opened, appOf, post, scripted } = await servedApp()

function clientOf(
  options: Partial<AppOptions> = {},
  apiKey = 'none',
  by: TextEngine = engine,
  template?: string,
): Anthropic {
  const app = appOf(options, by, template)
  const fetch = async (url: string | URL | Request, init?: RequestInit): Promise<Response> =>
    app.request(String(url), init)
  return new Anthropic({ baseURL: 'http://local', apiKey, fetch, maxRetries: 0 })
}

const client = clientOf()
const messages = [{ role: 'user' as const, content: 'Hello' }]
const asked = { model: 'tiny', max_tokens: 12, temperature: 0, messages }
const prompt = '[user] Hello\n[assistant]'

/** What the engine writes for it. */
async function written(options: object = {}, of = prompt): Promise<string> {
  let text = ''
  const request = { prompt: of, temperature: 0, maxNewTokens: 12, isTemplated: true, ...options }
  for await (const part of engine.generate(request)) text += part.text
  return text
}

const tokensOf = async (text: string): Promise<number> =>
  (await opened.tokenizer.encode(text, { addSpecialTokens: false })).length

test('a message is what the engine writes', async () => {
  const answer = await client.messages.create(asked)
  expect(answer).toMatchObject({
    type: 'message',
    role: 'assistant',
    model: 'tiny',
    content: [{ type: 'text', text: await written() }],
    stop_reason: 'max_tokens',
    stop_sequence: null,
    usage: { input_tokens: await tokensOf(prompt), cache_read_input_tokens: 0, output_tokens: 12 },
  })
})

test('what stands before the conversation, and blocks of text, come to the template', async () => {
  const text = 'Hel'
  const blocks = [
    { type: 'text' as const, text, cache_control: { type: 'ephemeral' as const } },
    { type: 'text' as const, text: 'lo' },
  ]
  const answer = await client.messages.create({
    ...asked,
    system: 'Be brief',
    messages: [{ role: 'user', content: blocks }],
  })
  const [block] = answer.content
  expect(block).toMatchObject({ text: await written({}, `[system] Be brief\n${prompt}`) })
})

test('streams the same, in the events that clients know', async () => {
  const stream = client.messages.stream(asked)
  const kinds: string[] = []
  stream.on('streamEvent', ({ type }) => kinds.push(type))
  const answer = await stream.finalMessage()
  expect(answer.content).toMatchObject([{ type: 'text', text: await written() }])
  expect(answer).toMatchObject({ stop_reason: 'max_tokens', usage: { output_tokens: 12 } })
  expect(kinds.slice(0, 2)).toEqual(['message_start', 'content_block_start'])
  expect(kinds.slice(-3)).toEqual(['content_block_stop', 'message_delta', 'message_stop'])
  expect(kinds.slice(2, -3).every(kind => kind === 'content_block_delta')).toBe(true)
})

test('says which stop text ended it', async () => {
  const whole = await written()
  const stop = [...whole].slice(2, 4).join('')
  const answer = await client.messages.create({ ...asked, stop_sequences: ['never there', stop] })
  expect(answer).toMatchObject({
    stop_reason: 'stop_sequence',
    stop_sequence: stop,
    content: [{ text: whole.slice(0, whole.indexOf(stop)) }],
  })
})

test('counts tokens', async () => {
  expect(await client.messages.countTokens({ model: 'tiny', messages })).toEqual({
    input_tokens: await tokensOf(prompt),
  })
})

test.each([
  [
    { messages, max_tokens: 5, container: 'x' },
    400,
    'invalid_request_error',
    'container: is not supported here',
  ],
  [
    { messages, max_tokens: 5, tools: [{ name: 'add', input_schema: {} }] },
    400,
    'invalid_request_error',
    "tools: the model's chat template has no tools",
  ],
  [{ messages }, 400, 'invalid_request_error', 'max_tokens: '],
  [
    { messages: [{ role: 'system', content: 'x' }], max_tokens: 5 },
    400,
    'invalid_request_error',
    'messages[0].role: ',
  ],
  [{ messages, max_tokens: 5, model: 'large' }, 404, 'not_found_error', "the model 'large' does not exist"],
  [
    { messages: [{ role: 'user', content: 'x'.repeat(2000) }], max_tokens: 5 },
    400,
    'invalid_request_error',
    'messages: are too long',
  ],
] as const)('%j is refused in the words of the API', async (body, status, type, message) => {
  const response = await post('/v1/messages', body)
  const answer = (await response.json()) as { error: { message: string } }
  expect(response.status).toBe(status)
  expect(answer).toMatchObject({ type: 'error', error: { type } })
  expect(answer.error.message).toContain(message)
})

const call = '<tool_call>\n{"name": "add", "arguments": {"a": 5, "b": 7}}\n</tool_call>'
const properties = { a: { type: 'integer' }, b: { type: 'integer' } }
const tools = [{ name: 'add', description: 'Adds', input_schema: { type: 'object' as const, properties } }]

describe('functions', () => {
  test.each([false, true])('are called, and what they gave comes back, streaming: %j', async streams => {
    const by = scripted(`Let me see.${call}`, 'It is 12.')
    const calling = clientOf({}, 'none', by, hermesTemplate)
    const create = async (messages: Anthropic.MessageParam[]): Promise<Anthropic.Message> => {
      const request = { ...asked, tools, messages }
      return streams ? calling.messages.stream(request).finalMessage() : calling.messages.create(request)
    }
    const question = { role: 'user' as const, content: 'What is 5 + 7?' }
    const first = await create([question])
    expect(first).toMatchObject({
      stop_reason: 'tool_use',
      content: [
        { type: 'text', text: 'Let me see.' },
        { type: 'tool_use', name: 'add', input: { a: 5, b: 7 } },
      ],
    })
    const [, made] = first.content as [unknown, Anthropic.ToolUseBlock]
    const result = { type: 'tool_result' as const, tool_use_id: made.id, content: '12' }
    const second = await create([
      question,
      { role: 'assistant', content: first.content },
      { role: 'user', content: [result, { type: 'text', text: 'So?' }] },
    ])
    expect(second).toMatchObject({ stop_reason: 'end_turn', content: [{ type: 'text', text: 'It is 12.' }] })
    const said = String(by.asked[1]?.prompt)
    const places = ['What is 5 + 7?', '"a"', '12', 'So?'].map(part => said.lastIndexOf(part))
    expect(places).toEqual(places.toSorted((a, b) => a - b))
  })

  test.each([{ type: 'any' as const }, { type: 'tool' as const, name: 'add' }])(
    'that must be called are: %j',
    async choice => {
      const { content } = await clientOf({}, 'none', engine, hermesTemplate).messages.create({
        ...{ model: 'tiny', max_tokens: 300, temperature: 1, messages, tools },
        tool_choice: { ...choice, disable_parallel_tool_use: true },
      })
      expect(content).toMatchObject([{ type: 'tool_use', name: 'add' }])
    },
  )
})

test('reasoning is a block of its own', async () => {
  const by = scripted('<think>\nWell.\n</think>\n\nYes.')
  const { content } = await clientOf({}, 'none', by, thinkingTemplate).messages.stream(asked).finalMessage()
  expect(content).toMatchObject([{ type: 'thinking' }, { type: 'text', text: 'Yes.' }])
})

test('an answer without anything in it comes back', async () => {
  const by = scripted('', 'Yes.')
  const empty = clientOf({}, 'none', by)
  const { content } = await empty.messages.create(asked)
  expect(content).toEqual([])
  const again = [...messages, { role: 'assistant' as const, content }, ...messages]
  expect((await empty.messages.create({ ...asked, messages: again })).content).toMatchObject([
    { text: 'Yes.' },
  ])
})

test('shows its key as its clients do', async () => {
  const keyed = { keys: ['right'] }
  expect((await clientOf(keyed, 'right').messages.create(asked)).type).toBe('message')
  await expect(clientOf(keyed, 'wrong').messages.create(asked)).rejects.toMatchObject({
    status: 401,
    error: { error: { type: 'authentication_error' } },
  })
})
