// What the openai package gets.
import OpenAI from 'openai'
import { expect, test } from 'vitest'
import { greedy, messages, servedApp } from '../../tests/support/served-app.ts'

const { engine, opened, clientOf } = await servedApp()
const client = clientOf()

/** What the engine writes for the prompt of a conversation. */
async function written(prompt: string, options: object = {}): Promise<string> {
  let text = ''
  const request = { prompt, temperature: 0, maxNewTokens: 12, isTemplated: true, ...options }
  for await (const part of engine.generate(request)) text += part.text
  return text
}

test('lists the model', async () => {
  const { data } = await client.models.list()
  expect(data).toMatchObject([{ id: 'tiny', object: 'model', owned_by: 'switchyard', max_model_len: 1024 }])
  expect(await client.models.retrieve('tiny')).toEqual(data[0])
  await expect(client.models.retrieve('large')).rejects.toMatchObject({
    status: 404,
    code: 'model_not_found',
  })
})

test("chats through the model's own template", async () => {
  const answer = await client.chat.completions.create({ ...greedy, messages })
  expect(answer).toMatchObject({
    object: 'chat.completion',
    model: 'tiny',
    choices: [
      { index: 0, finish_reason: 'length', logprobs: null, message: { role: 'assistant', refusal: null } },
    ],
  })
  expect(answer.choices[0]?.message.content).toBe(await written('[user] Hello\n[assistant]'))
  const prompt = (await opened.tokenizer.encode('[user] Hello\n[assistant]')).length
  expect(answer.usage).toMatchObject({
    prompt_tokens: prompt,
    completion_tokens: 12,
    total_tokens: prompt + 12,
  })
})

test('takes parts of content, system and developer', async () => {
  const content = [
    { type: 'text' as const, text: 'Hel' },
    { type: 'text' as const, text: 'lo' },
  ]
  const answers = await Promise.all(
    (['system', 'developer'] as const).map(role =>
      client.chat.completions.create({
        ...greedy,
        messages: [
          { role, content: 'Be brief' },
          { role: 'user', content },
        ],
      }),
    ),
  )
  const expected = await written('[system] Be brief\n[user] Hello\n[assistant]')
  expect(answers.map(({ choices }) => choices[0]?.message.content)).toEqual([expected, expected])
})

test('streams the same, with the role first and the usage last', async () => {
  const whole = await client.chat.completions.create({
    ...greedy,
    messages,
    logprobs: true,
    top_logprobs: 2,
  })
  const stream = await client.chat.completions.create({
    ...{ ...greedy, messages, logprobs: true, top_logprobs: 2 },
    ...{ stream: true, stream_options: { include_usage: true } },
  })
  const chunks: OpenAI.ChatCompletionChunk[] = []
  for await (const chunk of stream) chunks.push(chunk)
  expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: '' })
  expect(chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage })
  expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true)
  const choices = chunks.flatMap(chunk => chunk.choices)
  expect(choices.at(-1)).toMatchObject({ delta: {}, finish_reason: 'length' })
  expect(choices.filter(choice => choice.finish_reason).length).toBe(1)
  expect(choices.map(({ delta }) => delta.content ?? '').join('')).toBe(whole.choices[0]?.message.content)
  const content = whole.choices[0]?.logprobs?.content
  expect(content?.length).toBe(12)
  expect(choices.flatMap(choice => choice.logprobs?.content ?? [])).toEqual(content)
  for (const { logprob, top_logprobs } of content ?? []) {
    expect(top_logprobs.length).toBe(2)
    expect(top_logprobs[0]?.logprob).toBe(logprob) // greedy takes the likeliest
  }
  expect(new Set(chunks.map(({ id }) => id)).size).toBe(1)
})

test('gets n answers, which a seed repeats', async () => {
  const request = { model: 'tiny', messages, n: 3, seed: 5, max_tokens: 8, temperature: 2 }
  const [once, again] = await Promise.all([1, 2].map(() => client.chat.completions.create(request)))
  expect(once?.choices.map(({ index }) => index)).toEqual([0, 1, 2])
  expect(new Set(once?.choices.map(({ message }) => message.content)).size).toBe(3)
  expect(again?.choices).toEqual(once?.choices)
  expect(once?.usage).toMatchObject({ completion_tokens: 24 })
  const stream = await client.chat.completions.create({ ...request, stream: true })
  const texts = ['', '', '']
  for await (const { choices } of stream)
    for (const { index, delta } of choices) texts[index] += delta.content ?? ''
  expect(texts).toEqual(once?.choices.map(({ message }) => message.content))
})

test('ends at a stop text, which is not shown', async () => {
  const text = await written('[user] Hello\n[assistant]', { maxNewTokens: 40 })
  const stop = text.slice(5, 7)
  const { choices } = await client.chat.completions.create({ ...greedy, max_tokens: 40, messages, stop })
  expect(choices[0]).toMatchObject({
    finish_reason: 'stop',
    message: { content: text.slice(0, text.indexOf(stop)) },
  })
})

test('completes text, token ids and several prompts', async () => {
  const ids = await opened.tokenizer.encode('Once')
  const expected = await written('Once')
  const prompts = ['Once', ids, ['Once', 'Once'], [ids, ids]]
  const answers = await Promise.all(prompts.map(prompt => client.completions.create({ ...greedy, prompt })))
  for (const { choices } of answers) for (const { text } of choices) expect(text).toBe(expected)
  expect(answers.map(({ choices }) => choices.length)).toEqual([1, 1, 2, 2])
  let streamed = ''
  for await (const chunk of await client.completions.create({ ...greedy, prompt: 'Once', stream: true }))
    streamed += chunk.choices[0]?.text ?? ''
  expect(streamed).toBe(expected)
})

test('scores a prompt: echo with logprobs, and nothing written', async () => {
  const { choices, usage } = await client.completions.create({
    ...{ model: 'tiny', prompt: 'Once upon', echo: true, logprobs: 1, max_tokens: 0 },
  })
  const { text, logprobs } = choices[0] ?? {}
  expect(text).toBe('Once upon')
  expect(logprobs?.tokens).toEqual([...'Once upon'])
  expect(logprobs?.text_offset).toEqual([...'Once upon'].map((_, i) => i))
  expect(logprobs?.token_logprobs?.[0]).toBeNull()
  expect(logprobs?.token_logprobs?.slice(1).every(logprob => logprob < 0)).toBe(true)
  expect(usage).toMatchObject({ prompt_tokens: 9, completion_tokens: 0 })
})

test('is told what is wrong, in its own shape', async () => {
  const wrong = client.chat.completions.create({ ...greedy, messages, temperature: -1 })
  await expect(wrong).rejects.toBeInstanceOf(OpenAI.BadRequestError)
  await expect(wrong).rejects.toMatchObject({
    status: 400,
    param: 'temperature',
    type: 'invalid_request_error',
  })
  await expect(client.chat.completions.create({ ...greedy, model: 'gpt-4', messages })).rejects.toMatchObject(
    {
      status: 404,
      code: 'model_not_found',
    },
  )
})

test('gets embeddings, of many at once the same as of each alone, in numbers and in bytes', async () => {
  const inputs = Array.from({ length: 20 }, (_, i) => `Text ${i}${' and more'.repeat(i)}`)
  const many = await client.embeddings.create({ model: 'tiny', input: inputs, encoding_format: 'float' })
  expect(many.data.map(({ index }) => index)).toEqual([...inputs.keys()])
  for (const { embedding } of many.data) {
    expect(embedding.length).toBe(64)
    expect(Math.hypot(...embedding)).toBeCloseTo(1, 6)
  }
  const ids = await opened.tokenizer.encode(inputs[19] ?? '')
  expect(many.usage.prompt_tokens).toBeGreaterThan(ids.length)
  for (const input of [inputs[19] ?? '', ids]) {
    const one = await client.embeddings.create({ model: 'tiny', input }) // as base64, which the package reads
    expect(one.data[0]?.embedding).toEqual(many.data[19]?.embedding)
    expect(one.usage).toEqual({ prompt_tokens: ids.length, total_tokens: ids.length })
  }
  await expect(client.embeddings.create({ model: 'tiny', input: '' })).rejects.toMatchObject({
    param: 'input',
  })
  await expect(client.embeddings.create({ model: 'tiny', input: 'x', dimensions: 8 })).rejects.toMatchObject({
    param: 'dimensions',
    code: 'unsupported_parameter',
  })
  await expect(client.embeddings.create({ model: 'tiny', input: 'x'.repeat(1024) })).rejects.toMatchObject({
    param: 'input',
    code: 'context_length_exceeded',
  })
})
