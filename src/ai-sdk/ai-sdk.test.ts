// The AI SDK with a model in this process: random, and held to forms.
import type { LanguageModelV3StreamPart } from '@ai-sdk/provider'
import { generateObject, generateText, streamText, tool } from 'ai'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { thinkingTemplate } from '../../tests/support/chat-templates.ts'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { writeServedModel } from '../../tests/support/served-model.ts'
import { Engine } from '../engine/index.ts'
import type { ChatPiece } from '../server/index.ts'
import { chatBody } from './call-options.ts'
import { createSwitchyard } from './index.ts'
import { streamParts } from './stream-parts.ts'

const plain = writeServedModel(temporaryFolder()).folder
const thinking = writeServedModel(temporaryFolder(), { template: thinkingTemplate }).folder
const switchyard = createSwitchyard({ texts: 2 })
afterAll(() => switchyard.close())

const asked = { prompt: 'Hello', temperature: 0, maxOutputTokens: 12, maxRetries: 0 }

test('generateText and streamText write what the engine writes', async () => {
  const engine = await Engine.open(plain)
  let expected = ''
  const prompt = '[user] Hello\n[assistant]'
  for await (const { text } of engine.generate({
    prompt,
    isTemplated: true,
    temperature: 0,
    maxNewTokens: 12,
  }))
    expected += text
  await engine.close()
  const model = switchyard(plain)
  expect(switchyard.languageModel(plain)).toBe(model) // loaded once
  const whole = await generateText({ model, ...asked })
  expect([whole.text, whole.finishReason, whole.usage.outputTokens]).toEqual([expected, 'length', 12])
  const streamed = streamText({ model, ...asked })
  expect(await streamed.text).toBe(expected)
  expect(await streamed.usage).toMatchObject({ outputTokens: 12, inputTokens: whole.usage.inputTokens })
})

test('generateObject gives what its schema says', async () => {
  const schema = z.object({ name: z.enum(['Ada', 'Bob']), age: z.int().min(0).max(150) })
  const request = { ...asked, temperature: 1.5, maxOutputTokens: 100, seed: 1 }
  const { object } = await generateObject({ model: switchyard(plain), schema, ...request })
  expect(schema.parse(object)).toEqual(object)
})

test('a tool that must be called is called', async () => {
  const inputSchema = z.object({ n: z.int().min(1).max(99) })
  const tools = { double: tool({ inputSchema, execute: async ({ n }) => 2 * n }) }
  const request = {
    ...asked,
    temperature: 1.5,
    maxOutputTokens: 200,
    seed: 2,
    tools,
    toolChoice: 'required' as const,
  }
  const { toolResults } = await generateText({ model: switchyard(thinking), ...request })
  expect(toolResults.length).toBeGreaterThan(0)
  for (const { input, output } of toolResults) expect(output).toBe(2 * (input as { n: number }).n)
  const streamed = streamText({ model: switchyard(thinking), ...request })
  expect(await streamed.finishReason).toBe('tool-calls')
  expect((await streamed.toolCalls).map(({ input }) => input)).toEqual(toolResults.map(({ input }) => input))
})

test('an answer ends with its signal', async () => {
  const stopped = new AbortController()
  const { textStream } = streamText({
    ...{ ...asked, model: switchyard(plain), maxOutputTokens: 900, abortSignal: stopped.signal },
    providerOptions: { switchyard: { logit_bias: { 2: -100 } } }, // which would end it
  })
  let pieces = 0
  for await (const _ of textStream) if (++pieces === 3) stopped.abort()
  expect(pieces).toBeLessThan(900)
})

test('what is refused says so', async () => {
  const tools = { f: tool({ inputSchema: z.object({ n: z.int() }), execute: async ({ n }) => n }) }
  await expect(generateText({ model: switchyard(plain), ...asked, tools })).rejects.toThrow(
    'tools: the model',
  )
  await expect(generateText({ model: switchyard('nowhere'), ...asked })).rejects.toThrow('no such file')
  const image = { type: 'image' as const, image: new Uint8Array([137, 80, 78, 71]) }
  const messages = [{ role: 'user' as const, content: [image] }]
  await expect(generateText({ model: switchyard(plain), messages, maxRetries: 0 })).rejects.toThrow(
    'send text',
  )
  expect(await generateText({ model: switchyard(plain), ...asked })).toBeDefined() // and the next one succeeds
})

describe('conversations', () => {
  test('are the messages of the API', () => {
    const { messages } = chatBody({
      prompt: [
        { role: 'system', content: 'S' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'reasoning', text: 'R' },
            { type: 'text', text: 'T' },
            { type: 'tool-call', toolCallId: '1', toolName: 'f', input: { n: 1 } },
          ],
        },
        {
          role: 'tool',
          content: [
            {
              type: 'tool-result',
              toolCallId: '1',
              toolName: 'f',
              output: { type: 'json', value: { n: 2 } },
            },
          ],
        },
      ],
    })
    const call = { id: '1', type: 'function', function: { name: 'f', arguments: '{"n":1}' } }
    expect(messages).toEqual([
      { role: 'system', content: 'S' },
      { role: 'user', content: 'ab' },
      { role: 'assistant', content: 'T', reasoning_content: 'R', tool_calls: [call] },
      { role: 'tool', tool_call_id: '1', name: 'f', content: '{"n":2}' },
    ])
  })

  test('come back in parts, each of which ends', async () => {
    const seconds = { queued: 0, prompt: 0, writing: 0 }
    const end = { reason: 'end-of-text', promptTokens: 7, cachedTokens: 2, newTokens: 9, seconds } as const
    const call = (index: number) => ({
      index,
      id: `c${index}`,
      type: 'function' as const,
      function: { name: 'f', arguments: '' },
    })
    const pieces: ChatPiece[] = [
      { delta: { reasoning_content: 'R' } },
      { delta: { content: 'T' } },
      { delta: { tool_calls: [call(0)] } },
      { delta: { tool_calls: [{ index: 0, function: { arguments: '{}' } }] } },
      { delta: { tool_calls: [call(1)] } },
      { end, finishReason: 'tool_calls', reasoningTokens: 3 },
    ]
    const parts: LanguageModelV3StreamPart[] = []
    const all = (async function* () {
      yield* pieces
    })()
    for await (const part of streamParts(all)) parts.push(part)
    expect(parts.map(({ type }) => type)).toEqual([
      ...['reasoning-start', 'reasoning-delta', 'reasoning-end', 'text-start', 'text-delta', 'text-end'],
      ...['tool-input-start', 'tool-input-delta', 'tool-input-end', 'tool-call'],
      ...['tool-input-start', 'tool-input-end', 'tool-call', 'finish'],
    ])
    expect(parts.at(-1)).toMatchObject({
      finishReason: { unified: 'tool-calls' },
      usage: {
        inputTokens: { total: 7, noCache: 5, cacheRead: 2 },
        outputTokens: { total: 9, text: 6, reasoning: 3 },
      },
    })
  })
})
