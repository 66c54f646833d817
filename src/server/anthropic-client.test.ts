// What the @anthropic-ai/sdk package gets.
import Anthropic from '@anthropic-ai/sdk'
import { expect, test } from 'vitest'
import { servedApp } from '../../tests/support/served-app.ts'
import type { AppOptions } from './index.ts'

const { engine, opened, appOf, post } = await servedApp()

function clientOf(options: Partial<AppOptions> = {}, apiKey = 'none'): Anthropic {
  const app = appOf(options)
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
  [{ messages, max_tokens: 5, tools: [] }, 400, 'invalid_request_error', 'tools: is not supported here'],
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

test('shows its key as its clients do', async () => {
  const keyed = { keys: ['right'] }
  expect((await clientOf(keyed, 'right').messages.create(asked)).type).toBe('message')
  await expect(clientOf(keyed, 'wrong').messages.create(asked)).rejects.toMatchObject({
    status: 401,
    error: { error: { type: 'authentication_error' } },
  })
})
