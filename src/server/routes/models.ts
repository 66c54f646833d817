// GET /v1/models and /v1/models/{id}

import { modelOf, type ServedModel } from '../served-model.ts'
import type { Routes, ServerContext } from './context.ts'

export function modelRoutes(app: Routes, { models }: ServerContext): void {
  app.get('/v1/models', c => c.json({ object: 'list', data: models.map(described) }))
  app.get('/v1/models/:id{.+}', c => c.json(described(modelOf(models, c.req.param('id')))))
}

const described = ({ id, created, engine }: ServedModel) => ({
  ...{ id, object: 'model', created, owned_by: 'switchyard' },
  max_model_len: engine.facts.context, // vLLM's name for it
})
