// What the server takes, for machines: OpenAPI 3.1, made of the schemas that requests are held to.

import { z } from 'zod'
import { chatSchema } from './openai/chat-request.ts'
import { completionSchema } from './openai/completion-request.ts'
import { detokenizeSchema, tokenizeSchema } from './routes/tokens.ts'
import type { Limits } from './settings.ts'

/** @param isKeyed whether requests need an API key */
export function openApi(limits: Limits, isKeyed: boolean): object {
  const posts: [path: string, summary: string, schema: z.ZodType, isStream: boolean][] = [
    ['/v1/chat/completions', 'Goes on with a conversation', chatSchema(limits), true],
    ['/v1/completions', 'Goes on with texts', completionSchema(limits), true],
    ['/tokenize', 'A text, or a conversation, as token ids', tokenizeSchema(limits), false],
    ['/detokenize', 'Token ids as text', detokenizeSchema, false],
  ]
  const gets: [path: string, summary: string, type: string][] = [
    ['/v1/models', 'The models that are served', 'application/json'],
    ['/v1/models/{id}', 'One of them', 'application/json'],
    ['/health', 'Whether the process lives', 'application/json'],
    ['/ready', 'Whether it takes requests', 'application/json'],
    ['/metrics', 'Series for Prometheus', 'text/plain'],
    ['/openapi.json', 'This', 'application/json'],
  ]
  const errors = { default: { $ref: '#/components/responses/Error' } }
  const paths = {
    ...Object.fromEntries(
      posts.map(([path, summary, schema, isStream]) => [
        path,
        {
          post: {
            summary,
            requestBody: {
              required: true,
              content: { 'application/json': { schema: z.toJSONSchema(schema, { io: 'input' }) } },
            },
            responses: {
              200: {
                description: isStream
                  ? 'The answer, or with stream: true its pieces as they come'
                  : 'The answer',
                content: {
                  'application/json': anything,
                  ...(isStream && { 'text/event-stream': { schema: { type: 'string' } } }),
                },
              },
              ...errors,
            },
          },
        },
      ]),
    ),
    ...Object.fromEntries(
      gets.map(([path, summary, type]) => [
        path,
        {
          get: {
            summary,
            ...(path.includes('{id}') && { parameters: [idParameter] }),
            responses: { 200: { description: 'The answer', content: { [type]: anything } }, ...errors },
          },
        },
      ]),
    ),
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Switchyard', version: '1', description: 'See docs/server.md for what fields mean.' },
    ...(isKeyed && { security: [{ key: [] }] }),
    paths,
    components: {
      ...(isKeyed && { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } }),
      responses: {
        Error: {
          description: 'What is wrong, in the words of the OpenAI API',
          content: { 'application/json': { schema: errorSchema } },
        },
      },
    },
  }
}

const anything = { schema: {} }
const idParameter = { name: 'id', in: 'path', required: true, schema: { type: 'string' } }
const text = { type: ['string', 'null'] }
const errorSchema = {
  type: 'object',
  properties: {
    error: {
      type: 'object',
      properties: { message: { type: 'string' }, type: text, param: text, code: text },
    },
  },
}
