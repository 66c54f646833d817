// What the openai package gets of /v1/responses.
import { expect, test } from 'vitest'
import { servedApp } from '../../tests/support/served-app.ts'
import { KeptResponses } from './openai/kept-responses.ts'

const { engine, clientOf, post } = await servedApp()
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
  [{ input: 'x', tools: [] }, 'tools', 'unsupported_parameter'],
  [{ input: [] }, 'input', 'invalid_value'],
  [{ input: [{ role: 'user', content: [{ type: 'input_image' }] }] }, 'input', 'invalid_value'],
  [{ input: 'x'.repeat(2000) }, 'input', 'context_length_exceeded'],
  [{ input: 'x', text: { format: { type: 'json_object' } } }, 'text.format.type', 'invalid_value'],
] as const)('%j is refused', async (body, param, code) => {
  const response = await post('/v1/responses', body)
  expect(response.status).toBe(400)
  expect(await response.json()).toMatchObject({ error: { param, code } })
})

test('those that were used longest ago go first, and nobody finds those of another key', () => {
  const kept = new KeptResponses()
  const keep = (id: string, key: string, length: number): void =>
    kept.keep({ key, messages: [{ role: 'user', content: 'x'.repeat(length) }], body: { id } })
  const third = 6 * 2 ** 20
  for (const id of ['a', 'b']) keep(id, 'one', third)
  expect(kept.find('a', 'two')).toBeUndefined()
  expect(kept.delete('a', 'two')).toBe(false)
  expect(kept.find('a', 'one')).toBeDefined()
  keep('c', 'one', third)
  expect(['a', 'b', 'c'].map(id => kept.find(id, 'one')?.body.id)).toEqual(['a', undefined, 'c'])
})
