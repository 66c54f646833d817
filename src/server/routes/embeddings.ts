// POST /v1/embeddings

import type { TextRequest } from '../../engine/index.ts'
import { embeddingSchema, embeddingTexts } from '../openai/embedding-request.ts'
import { parseBody } from '../openai/fields.ts'
import { modelOf } from '../served-model.ts'
import { ofMessages } from './chat.ts'
import { jsonOf, type Routes, type ServerContext, writeFor } from './context.ts'

export function embeddingRoutes(app: Routes, context: ServerContext): void {
  app.post('/v1/embeddings', async c => {
    const request = parseBody(embeddingSchema, await jsonOf(c))
    const served = modelOf(context.models, request.model)
    const data: object[] = []
    let tokens = 0
    for (const texts of inChunks(embeddingTexts(request), served.engine.facts.texts)) {
      const first = data.length
      for await (const { index, embedding, end } of ofMessages(
        writeFor(c, context, served, texts),
        'input',
      )) {
        if (embedding) data[first + index] = embeddingOf(embedding, first + index, request.encoding_format)
        tokens += end?.promptTokens ?? 0
      }
    }
    const usage = { prompt_tokens: tokens, total_tokens: tokens }
    return c.json({ object: 'list', data, model: served.id, usage })
  })
}

/** As many as are read at once: who else asks has a turn between two of them. */
const inChunks = (texts: readonly TextRequest[], most: number): TextRequest[][] =>
  Array.from({ length: Math.ceil(texts.length / most) }, (_, i) => texts.slice(i * most, (i + 1) * most))

/** Numbers, or their bytes as little-endian f32. */
function embeddingOf(values: Float32Array, index: number, format: 'float' | 'base64' = 'float'): object {
  const { buffer, byteOffset, byteLength } = values
  const embedding =
    format === 'float' ? [...values] : Buffer.from(buffer, byteOffset, byteLength).toString('base64')
  return { object: 'embedding', index, embedding }
}
