// The HTTP interface by hand: what is wrong, what is too much, and who goes.
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { greedy, messages, servedApp } from '../../tests/support/served-app.ts'
import type { TextEngine } from '../engine/index.ts'
import { defaultLimits } from './index.ts'

const { engine, opened, lines, appOf, clientOf, post } = await servedApp()

/** The data of server-sent events. */
async function eventsOf(response: Response): Promise<string[]> {
  const text = await response.text()
  expect(text.endsWith('\n\n')).toBe(true)
  return text
    .trimEnd()
    .split('\n\n')
    .map(line => line.replace(/^data: /, ''))
}

interface Choice {
  index: number
  switchyard?: {
    routing?: { layers: number[]; tokens: { id: number; experts: number[][]; weights: number[][] }[] }
    seconds?: Record<string, number>
  }
}

describe('the field switchyard', () => {
  const request = { temperature: 0, max_tokens: 5, logit_bias: { 0: -100, 1: -100, 2: -100 } }
  const asks = { experts_per_token: 1, return_routing: true }

  test.each([
    ['/v1/chat/completions', { messages }],
    ['/v1/completions', { prompt: 'Hello' }],
  ])('tells which experts tokens passed, whole and streamed: %s', async (path, subject) => {
    const body = { ...subject, ...request, switchyard: asks }
    const whole = (await (await post(path, body)).json()) as {
      choices: Choice[]
      usage: { total_tokens: number }
    }
    const events = await eventsOf(await post(path, { ...body, stream: true }))
    const pieces = events
      .slice(0, -1)
      .flatMap(event => (JSON.parse(event) as { choices: Choice[] }).choices)
      .flatMap(({ switchyard }) => switchyard ?? [])
    const { routing, seconds } = whole.choices[0]?.switchyard ?? {}
    expect(routing?.layers).toEqual([0, 1])
    expect(routing?.tokens.length).toBe(whole.usage.total_tokens - 1) // the last one was not read
    expect(pieces.flatMap(piece => piece.routing?.tokens ?? [])).toEqual(routing?.tokens)
    for (const { experts } of routing?.tokens ?? [])
      expect(experts.map(({ length }) => length)).toEqual([1, 1])
    for (const times of [seconds, pieces.at(-1)?.seconds])
      expect(Object.keys(times ?? {})).toEqual(['queued', 'prompt', 'writing'])
  })

  test.each([
    ['/v1/chat/completions', { messages }],
    ['/v1/completions', { prompt: 'Hello' }],
  ])('ends an answer when its time is over, whole and streamed: %s', async (path, subject) => {
    const slow = { ...request, max_tokens: 900, switchyard: { deadline_ms: 1 } }
    const whole = (await (await post(path, { ...subject, ...slow })).json()) as { choices: object[] }
    const ended = { finish_reason: 'length', switchyard: { ended_by: 'deadline' } }
    expect(whole.choices[0]).toMatchObject(ended)
    const events = await eventsOf(await post(path, { ...subject, ...slow, stream: true }))
    expect(JSON.parse(events.at(-2) ?? '')).toMatchObject({ choices: [ended] })
    expect(lines.at(-1)).toMatchObject({ status: 200, reasons: ['deadline'] })
    const quick = { ...subject, ...request, switchyard: { deadline_ms: 3_600_000 } }
    const { choices } = (await (await post(path, quick)).json()) as { choices: Choice[] }
    expect(Object.keys(choices[0]?.switchyard ?? {})).toEqual(['seconds'])
  })

  test('is not answered where it is not asked for', async () => {
    const { choices } = (await (await post('/v1/completions', { prompt: 'x', ...request })).json()) as {
      choices: Choice[]
    }
    expect(choices[0]).not.toHaveProperty('switchyard')
  })
})

describe('a field that is wrong, or not there, is named', () => {
  test.each([
    ['/v1/chat/completions', { messages, functions: [] }, 'functions', 'unsupported_parameter'],
    ['/v1/chat/completions', { messages, frobnicate: 1 }, 'frobnicate', 'unsupported_parameter'],
    [
      '/v1/chat/completions',
      { messages, response_format: { type: 'grammar' } },
      'response_format.type',
      'invalid_value',
    ],
    [
      '/v1/chat/completions',
      { messages, switchyard: { deadline: 1 } },
      'switchyard.deadline',
      'unsupported_parameter',
    ],
    [
      '/v1/completions',
      { prompt: 'x', switchyard: { experts_per_token: 3 } },
      'switchyard.experts_per_token',
      'invalid_value',
    ],
    [
      '/v1/chat/completions',
      { messages: [{ role: 'user', content: 'x', mood: 'y' }] },
      'messages[0].mood',
      'unsupported_parameter',
    ],
    [
      '/v1/chat/completions',
      { messages: [{ role: 'function', content: 'x' }] },
      'messages[0].role',
      'invalid_value',
    ],
    ['/v1/chat/completions', { messages: [] }, 'messages', 'invalid_value'],
    ['/v1/chat/completions', {}, 'messages', 'invalid_value'],
    ['/v1/chat/completions', { messages, n: 9 }, 'n', 'invalid_value'],
    ['/v1/chat/completions', { messages, top_logprobs: 1 }, 'top_logprobs', 'invalid_value'],
    ['/v1/chat/completions', { messages, logit_bias: { 9999: 1 } }, 'logit_bias', 'invalid_value'],
    ['/v1/chat/completions', { messages, stop: new Array(17).fill('x') }, 'stop', 'invalid_value'],
    [
      '/v1/chat/completions',
      { messages, max_tokens: 1, max_completion_tokens: 2 },
      'max_tokens',
      'invalid_value',
    ],
    [
      '/v1/chat/completions',
      { messages: [{ role: 'user', content: 'x'.repeat(2000) }] },
      'messages',
      'context_length_exceeded',
    ],
    ['/v1/completions', {}, 'prompt', 'invalid_value'],
    ['/v1/completions', { prompt: [9999] }, 'prompt', 'invalid_value'],
    ['/v1/completions', { prompt: 'x', echo: true, stream: true }, 'echo', 'invalid_value'],
    ['/v1/completions', { prompt: new Array(5).fill('x'), n: 4 }, 'n', 'invalid_value'],
    ['/v1/completions', { prompt: 'x', suffix: 'y' }, 'suffix', 'unsupported_parameter'],
    ['/v1/completions', { prompt: 'x', best_of: 2 }, 'best_of', 'unsupported_parameter'],
    ['/tokenize', { prompt: 'x', messages }, 'prompt', 'invalid_value'],
    ['/detokenize', { tokens: [9999] }, 'tokens[0]', 'invalid_value'],
  ] as const)('%s %#', async (path, body, param, code) => {
    const response = await post(path, body)
    const { error } = (await response.json()) as { error: { message: string } }
    expect(response.status).toBe(400)
    expect(error).toMatchObject({ type: 'invalid_request_error', param, code })
    expect(lines.at(-1)).toMatchObject({ path, status: 400, problem: error.message })
    expect(error.message).not.toBe(`${param}: Invalid input`)
    expect(error.message).toMatch(new RegExp(`^${param.replace(/[[\]]/g, '\\$&')}: \\S`))
  })

  test.each([
    [{ messages, temperature: -1 }, 'temperature: must be at least 0, got -1'],
    [{ messages, stream: 'yes' }, 'stream: must be true or false, got "yes"'],
    [{}, 'messages: is missing'],
    [
      { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
      'messages[0].content: must be text, or parts of type text',
    ],
    [{ messages, stop: 5 }, 'stop: must be a text, or at most 16, each of 1 to 256 characters'],
    [{ messages: 'x'.repeat(500_000) }, `messages: must be a list, got "${'x'.repeat(179)}...`],
  ])('%#: and told what it must be', async (body, message) => {
    const { error } = (await (await post('/v1/chat/completions', body)).json()) as { error: object }
    expect(error).toMatchObject({ message })
  })

  test('one that is null is one that was left out', async () => {
    const nothing = { stop: null, tools: null, seed: null, max_completion_tokens: null }
    expect((await post('/v1/chat/completions', { ...greedy, messages, ...nothing })).status).toBe(200)
  })
})

describe('what is no request', () => {
  test.each(['{', '', '[]', '"x"', '{"messages":[}'])('%j is a 400', async body => {
    const response = await post('/v1/chat/completions', body)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { code: 'invalid_json' } })
  })

  test.each([
    ['[', ']'],
    ['{"a":', '}'],
  ])('is nested too deep: %s', async (open, close) => {
    const body = `{"model":"tiny","messages":${open.repeat(100_000)}1${close.repeat(100_000)}}`
    const response = await post('/v1/chat/completions', body)
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { message: 'the body is nested deeper than 200' } })
  })

  test('is not what has brackets in its texts', async () => {
    const prompt = `\\"${'['.repeat(201)}`
    expect((await post('/v1/completions', { ...greedy, prompt, max_tokens: 1 })).status).toBe(200)
  })

  test('is too large', async () => {
    const response = await post('/v1/completions', { prompt: 'x'.repeat(defaultLimits.body) })
    expect([response.status, response.headers.get('connection')]).toEqual([413, 'close'])
    expect(await response.json()).toMatchObject({ error: { code: 'body_too_large' } })
  })

  test('comes as a form of a web page, or from one', async () => {
    const form = await post('/v1/completions', { prompt: 'x' }, {}, { 'content-type': 'text/plain' })
    expect(form.status).toBe(415)
    const origin = 'https://example.org'
    expect((await post('/v1/completions', { prompt: 'x' }, {}, { origin })).status).toBe(403)
    const allowed = { origins: [origin] }
    const named = await post('/v1/completions', { ...greedy, prompt: 'x' }, allowed, { origin })
    expect([named.status, named.headers.get('access-control-allow-origin')]).toEqual([200, origin])
    const preflight = await appOf({ ...allowed, keys: ['k'] }).request('/v1/completions', {
      method: 'OPTIONS',
      headers: { origin },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-headers')).toBe('authorization, content-type')
    const own = { origin, 'access-control-request-headers': 'x-stainless-os, authorization' }
    const ofClient = await appOf(allowed).request('/v1/completions', { method: 'OPTIONS', headers: own })
    expect(ofClient.headers.get('access-control-allow-headers')).toBe(own['access-control-request-headers'])
    expect((await appOf().request('/v1/models')).headers.get('access-control-allow-origin')).toBeNull()
  })
})

test('keys are demanded where there are any, but for health and readiness', async () => {
  const keys = ['secret-one', 'secret-two']
  const list = (apiKey: string) => clientOf({ keys }, apiKey).models.list()
  expect((await list('secret-two')).data.length).toBe(1)
  await expect(list('secret')).rejects.toBeInstanceOf(OpenAI.AuthenticationError)
  for (const path of ['/v1/models', '/metrics', '/nowhere'])
    expect((await appOf({ keys }).request(path)).status).toBe(401)
  for (const path of ['/health', '/ready']) expect((await appOf({ keys }).request(path)).status).toBe(200)
  expect(lines.at(-1)?.key).toBe('')
})

describe('events', () => {
  test('are lines of data, and end with [DONE]', async () => {
    const response = await post('/v1/chat/completions', { ...greedy, messages, stream: true })
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    const events = await eventsOf(response)
    expect(events.at(-1)).toBe('[DONE]')
    const chunks = events.slice(0, -1).map(event => JSON.parse(event))
    expect(chunks[0].choices[0].delta).toEqual({ role: 'assistant', content: '' })
    for (const chunk of chunks) expect(chunk).not.toHaveProperty('usage') // nobody asked
    expect(lines.at(-1)).toMatchObject({ path: '/v1/chat/completions', status: 200, newTokens: 12 })
  })

  test('an error before the first is a status', async () => {
    const response = await post('/v1/completions', { prompt: [9999], stream: true })
    expect(response.status).toBe(400)
  })

  test('whoever stops reading cancels', async () => {
    const response = await post('/v1/completions', {
      prompt: 'x',
      max_tokens: 1000,
      stream: true,
      logit_bias: { 2: -100 },
    })
    const reader = response.body?.getReader()
    await reader?.read()
    await reader?.cancel()
    await expect.poll(async () => (await engine.status()).running).toBe(0)
    expect(lines.at(-1)).toMatchObject({ status: 200, reasons: ['client-gone'] })
  })
})

test('a client that has gone cancels what it asked', async () => {
  const gone = new AbortController()
  const answer = appOf().request('/v1/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'x', max_tokens: 1000, logit_bias: { 2: -100 } }),
    signal: gone.signal,
  })
  await expect.poll(async () => (await engine.status()).running).toBe(1)
  gone.abort()
  await answer
  expect(await engine.status()).toMatchObject({ running: 0 })
  expect(lines.at(-1)).toMatchObject({ status: 499, reasons: ['aborted'] })
})

test('more requests than can wait are told when to come again', async () => {
  const request = { ...greedy, max_tokens: 100, prompt: 'x' }
  const answers = await Promise.all(Array.from({ length: 15 }, () => post('/v1/completions', request)))
  const busy = answers.filter(({ status }) => status === 503)
  expect(busy.length).toBeGreaterThan(0)
  for (const answer of busy) {
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(await answer.json()).toMatchObject({ error: { code: 'overloaded', type: 'server_error' } })
  }
  expect(answers.filter(({ status }) => status === 200).length).toBe(15 - busy.length)
  expect((await post('/v1/completions', request)).status).toBe(200)
})

test('a failure inside is told without what is inside, and logged with it', async () => {
  const broken: TextEngine = {
    facts: engine.facts,
    isReady: true,
    generate: async function* () {
      yield* []
      throw new Error('/secret/path')
    },
    status: () => engine.status(),
    close: async () => undefined,
  }
  const response = await appOf({}, broken).request('/v1/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'x' }),
  })
  expect(response.status).toBe(500)
  expect(await response.text()).not.toContain('secret')
  expect(lines.at(-1)?.error).toContain('/secret/path')
})

test('a server that stops says so', async () => {
  const draining = AbortSignal.abort()
  expect((await appOf({ draining }).request('/ready')).status).toBe(503)
  expect((await appOf({ draining }).request('/health')).status).toBe(200)
  const refused = await post('/v1/completions', { prompt: 'x' }, { draining })
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5'])
  const ended = await post('/v1/completions', { prompt: 'x' }, { stopping: AbortSignal.abort() })
  expect(await ended.json()).toMatchObject({ error: { code: 'stopping' } })
})

test('text to tokens and back', async () => {
  const tokens = await opened.tokenizer.encode('Once')
  const there = await post('/tokenize', { prompt: 'Once' })
  expect(await there.json()).toEqual({ tokens, count: 4, max_model_len: 1024 })
  expect(await (await post('/detokenize', { tokens })).json()).toEqual({ prompt: 'Once' })
  const chat = (await (await post('/tokenize', { messages })).json()) as { tokens: number[] }
  expect(opened.tokenizer.decode(chat.tokens)).toBe('[user] Hello\n[assistant]')
})

test('metrics have the names that dashboards know, and move', async () => {
  const app = appOf()
  const numberOf = async (series: string): Promise<number> => {
    const text = await (await app.request('/metrics')).text()
    return Number(
      text
        .split('\n')
        .find(line => line.startsWith(series))
        ?.split(' ')
        .at(-1) ?? Number.NaN,
    )
  }
  const label = '{model_name="tiny"}'
  const before = await numberOf(`vllm:generation_tokens_total${label}`)
  const body = JSON.stringify({ ...greedy, prompt: 'Once upon a time' })
  await app.request('/v1/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  expect(await numberOf(`vllm:generation_tokens_total${label}`)).toBe(before + 12)
  expect(await numberOf(`vllm:time_to_first_token_seconds_count${label}`)).toBe(1)
  expect(await numberOf(`vllm:inter_token_latency_seconds_count${label}`)).toBe(11)
  expect(await numberOf('vllm:request_success_total{model_name="tiny",finished_reason="length"}')).toBe(1)
  expect(
    await numberOf('switchyard_http_requests_total{method="POST",path="/v1/completions",status="200"}'),
  ).toBe(1)
  expect(
    await numberOf('switchyard_expert_load_max_over_mean{model_name="tiny",layer="1"}'),
  ).toBeGreaterThanOrEqual(1)
  const names = ['num_requests_running', 'num_requests_waiting', 'kv_cache_usage_perc', 'prompt_tokens_total']
  for (const name of [...names, 'prefix_cache_queries_total', 'prefix_cache_hits_total'])
    expect(await numberOf(`vllm:${name}${label}`)).toBeGreaterThanOrEqual(0)
})
