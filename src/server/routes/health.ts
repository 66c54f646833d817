// GET /health (the process lives), /ready (it takes requests) and /metrics.

import type { Routes, ServerContext } from './context.ts'

/** What asks whether a server is there needs no key. */
export const openPaths: readonly string[] = ['/health', '/ready']

export function healthRoutes(
  app: Routes,
  { models, metrics }: ServerContext,
  isDraining: () => boolean,
): void {
  app.get('/health', c => c.json({ status: 'ok' }))
  app.get('/ready', c => {
    const isReady = models.every(({ engine }) => engine.isReady) && !isDraining()
    return c.json({ status: isReady ? 'ready' : 'not ready' }, isReady ? 200 : 503)
  })
  app.get('/metrics', async c => c.text(await metrics.text(), 200, { 'content-type': metrics.contentType }))
}
