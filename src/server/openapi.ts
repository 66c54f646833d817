// What the server takes, for machines: OpenAPI 3.1, made of the schemas that requests are held to.

import { z } from 'zod'
import { anthropicSchema, countTokensSchema } from './anthropic/messages-request.ts'
import { chatSchema } from './openai/chat-request.ts'
import { completionSchema } from './openai/completion-request.ts'
import { embeddingSchema } from './openai/embedding-request.ts'
import { responsesSchema } from './openai/responses-request.ts'
import { detokenizeSchema, tokenizeSchema } from './routes/tokens.ts'
import type { Limits } from './settings.ts'

/** @param isKeyed whether requests need an API key */
export function openApi(limits: Limits, isKeyed: boolean): object {
  return {
    openapi: '3.1.0',
    info: { title: 'Switchyard', version: '1', description: 'See docs/server.md for what fields mean.' },
    ...(isKeyed && { security: [{ key: [] }] }),
    paths: {
      '/v1/chat/completions': post('Goes on with a conversation', chatSchema(limits), 'streams'),
      '/v1/completions': post('Goes on with texts', completionSchema(limits), 'streams'),
      '/v1/responses': post('An answer, and what to go on from', responsesSchema, 'streams'),
      '/v1/responses/{id}': {
        ...get('An answer that is kept', { parameters: [idParameter] }),
        delete: {
          summary: 'Forgets it',
          parameters: [idParameter],
          responses: answer({ 'application/json': {} }),
        },
      },
      '/v1/messages': post(
        "A conversation in the words of Anthropic's API",
        anthropicSchema(limits),
        'streams',
      ),
      '/v1/messages/count_tokens': post('The tokens of a conversation', countTokensSchema),
      '/v1/embeddings': post('Texts as vectors', embeddingSchema),
      '/tokenize': post('A text, or a conversation, as token ids', tokenizeSchema(limits)),
      '/detokenize': post('Token ids as text', detokenizeSchema),
      '/v1/models': get('The models that are served'),
      '/v1/models/{id}': get('One of them', { parameters: [idParameter] }),
      '/health': get('Whether the process lives'),
      '/ready': get('Whether it takes requests'),
      '/metrics': get('Series for Prometheus', {}, 'text/plain'),
      '/openapi.json': get('This'),
    },
    components: {
      ...(isKeyed && { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } }),
      responses: { Error: errorResponse },
    },
  }
}

/** Answers are those of the APIs that clients know: their fields are not told again. */
const answer = (content: object) => ({
  200: { description: 'The answer', content },
  default: { $ref: '#/components/responses/Error' },
})

function post(summary: string, schema: z.ZodType, streams?: 'streams') {
  const fields = z.toJSONSchema(schema, { io: 'input' })
  const events = { 'text/event-stream': { schema: { type: 'string' } } }
  return {
    post: {
      summary,
      requestBody: { required: true, content: { 'application/json': { schema: fields } } },
      responses: answer({ 'application/json': {}, ...(streams && events) }),
    },
  }
}

const get = (summary: string, more: object = {}, type = 'application/json') => ({
  get: { summary, ...more, responses: answer({ [type]: {} }) },
})

const idParameter = { name: 'id', in: 'path', required: true, schema: { type: 'string' } }
const text = { type: ['string', 'null'] }
const errorFields = { message: { type: 'string' }, type: text, param: text, code: text }
const errorResponse = {
  description: "What is wrong, in the words of OpenAI's API; of Anthropic's below /v1/messages",
  content: {
    'application/json': {
      schema: { type: 'object', properties: { error: { type: 'object', properties: errorFields } } },
    },
  },
}
