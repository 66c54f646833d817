// GET /v1/models and /v1/models/{id}

import { requireModel, type ServedModel } from '../served-model.ts'
import type { Routes, ServerContext } from './context.ts'

export function modelRoutes(app: Routes, { served }: ServerContext): void {
  app.get('/v1/models', c => c.json({ object: 'list', data: [modelOf(served)] }))
  app.get('/v1/models/:id{.+}', c => {
    requireModel(served, c.req.param('id'))
    return c.json(modelOf(served))
  })
}

const modelOf = ({ id, created, engine }: ServedModel) => ({
  ...{ id, object: 'model', created, owned_by: 'switchyard' },
  max_model_len: engine.facts.context, // vLLM's name for it
})
