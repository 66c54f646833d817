// Clients that people have, unchanged: tools and structured outputs of openai, the AI SDK, LangChain.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { HumanMessage } from '@langchain/core/messages'
import { tool as langchainTool } from '@langchain/core/tools'
import { ChatOpenAI } from '@langchain/openai'
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai'
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { hermesTemplate } from '../../tests/support/chat-templates.ts'
import { fetchOf, greedy, messages, servedApp } from '../../tests/support/served-app.ts'
import type { TextEngine } from '../engine/index.ts'

const { engine, clientOf, appOf, templated, scripted } = await servedApp()

/** Kinds that the tiny model can be held to, whatever it thinks. */
const person = z.object({
  name: z.enum(['Ada', 'Bob']),
  age: z.int().min(0).max(150),
  tags: z.array(z.enum(['x', 'y'])).max(2),
})
const sum = z.object({ a: z.int(), b: z.int() })
const add = ({ a, b }: z.infer<typeof sum>): string => `${a + b}`

const call = '<tool_call>\n{"name": "add", "arguments": {"a": 5, "b": 7}}\n</tool_call>'
/** A model that calls a function, and then says what came of it. */
const calling = (): TextEngine => scripted(call, 'It is 12.')

async function greedyText(): Promise<string> {
  const { choices } = await clientOf().chat.completions.create({ ...greedy, messages })
  return choices[0]?.message.content ?? ''
}

describe('openai', () => {
  test('parse() gives what zod says', async () => {
    const completion = await clientOf().chat.completions.parse({
      ...{ model: 'tiny', messages, temperature: 1.5, max_tokens: 200, seed: 3 },
      response_format: zodResponseFormat(person, 'person'),
    })
    expect(person.parse(completion.choices[0]?.message.parsed)).toBeDefined()
  })

  test('a function that must be called is, with parsed arguments', async () => {
    const completion = await templated(hermesTemplate).chat.completions.parse({
      ...{ model: 'tiny', messages, temperature: 1.5, max_tokens: 300, seed: 3 },
      tools: [zodFunction({ name: 'add', parameters: sum })],
      ...{ tool_choice: 'required', parallel_tool_calls: false },
    })
    const [made] = completion.choices[0]?.message.tool_calls ?? []
    expect(sum.parse(made?.function.parsed_arguments)).toBeDefined()
    const result = { role: 'tool' as const, tool_call_id: made?.id ?? '', content: '12' }
    const back = [...messages, completion.choices[0]?.message as never, result]
    const next = templated(hermesTemplate, scripted('It is 12.'))
    const answer = await next.chat.completions.create({ ...greedy, messages: back })
    expect(answer.choices[0]?.message.content).toBe('It is 12.')
  })

  test.each([false, true])('runTools() goes round, streaming: %j', async stream => {
    const client = templated(hermesTemplate, calling())
    const tools = [zodFunction({ name: 'add', parameters: sum, function: add, description: 'Adds' })]
    const request = { ...greedy, messages, tools }
    const runner = stream
      ? client.chat.completions.runTools({ ...request, stream: true })
      : client.chat.completions.runTools(request)
    expect(await runner.finalContent()).toBe('It is 12.')
    expect(runner.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'assistant'])
    expect(runner.messages[2]?.content).toBe('12')
  })
})

describe('the AI SDK', () => {
  const modelOf = (by: TextEngine = engine, template?: string) =>
    createOpenAICompatible({
      ...{ name: 'switchyard', baseURL: 'http://local/v1', supportsStructuredOutputs: true },
      fetch: fetchOf(appOf({}, by, template)),
    })('tiny')
  const asked = { prompt: 'Hello', temperature: 0, maxOutputTokens: 12, maxRetries: 0 }

  test('generateText and streamText', async () => {
    const expected = await greedyText()
    const { text, usage, finishReason } = await generateText({ model: modelOf(), ...asked })
    expect([text, usage.outputTokens, finishReason]).toEqual([expected, 12, 'length'])
    const { textStream } = streamText({ model: modelOf(), ...asked })
    let streamed = ''
    for await (const piece of textStream) streamed += piece
    expect(streamed).toBe(expected)
  })

  test('generateObject', async () => {
    const request = { ...asked, temperature: 1.5, maxOutputTokens: 200, seed: 1 }
    const { object } = await generateObject({ model: modelOf(), schema: person, ...request })
    expect(person.parse(object)).toEqual(object)
  })

  test('tools, in steps', async () => {
    const tools = { add: tool({ description: 'Adds', inputSchema: sum, execute: async input => add(input) }) }
    const request = { ...asked, tools, stopWhen: stepCountIs(3) }
    const { text, steps } = await generateText({ model: modelOf(calling(), hermesTemplate), ...request })
    expect([text, steps.length, steps[0]?.toolResults[0]?.output]).toEqual(['It is 12.', 2, '12'])
    const streamed = streamText({ model: modelOf(calling(), hermesTemplate), ...request })
    expect(await streamed.text).toBe('It is 12.')
    expect((await streamed.steps)[0]?.toolCalls[0]?.input).toEqual({ a: 5, b: 7 })
  })
})

describe('LangChain', () => {
  const modelOf = (by: TextEngine = engine, template?: string, options: object = {}): ChatOpenAI =>
    new ChatOpenAI({
      ...{ model: 'tiny', apiKey: 'none', temperature: 0, maxTokens: 12, maxRetries: 0 },
      configuration: { baseURL: 'http://local/v1', fetch: fetchOf(appOf({}, by, template)) },
      ...options,
    })

  test('invoke and stream', async () => {
    const expected = await greedyText()
    expect((await modelOf().invoke('Hello')).text).toBe(expected)
    let streamed = ''
    for await (const { text } of await modelOf().stream('Hello')) streamed += text
    expect(streamed).toBe(expected)
  })

  test('withStructuredOutput', async () => {
    const model = modelOf(engine, undefined, { temperature: 1.5, maxTokens: 200 })
    const formed = model.withStructuredOutput(person, { method: 'jsonSchema' })
    expect(person.parse(await formed.invoke('Hello'))).toBeDefined()
  })

  test('bindTools', async () => {
    const tools = [
      langchainTool(async input => add(input), { name: 'add', description: 'Adds', schema: sum }),
    ]
    const model = modelOf(calling(), hermesTemplate).bindTools(tools)
    const first = await model.invoke('Hello')
    expect(first.tool_calls).toMatchObject([{ name: 'add', args: { a: 5, b: 7 } }])
    const result = await tools[0]?.invoke(first.tool_calls?.[0] as never)
    const second = await model.invoke([new HumanMessage('Hello'), first, result as never])
    expect(second.text).toBe('It is 12.')
  })
})
