// A server on a port, from its start until the last request has been answered.

import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { ConfigError } from '../errors.ts'
import { type AppOptions, createApp } from './app.ts'
import type { ServedModel } from './served-model.ts'
import { isLoopback, type ServerSettings } from './settings.ts'

export interface RunningServer {
  /** `http://127.0.0.1:8000` */
  url: string
  /** Takes no more requests, waits for those that are answered as long as they may take, then ends them. */
  stop(): Promise<void>
}

/** A client that sends its request slower than this is let go. */
const requestTimeout = 60_000

/** @throws ConfigError for an address that others reach without keys, and for a port that is taken */
export async function startServer(
  models: readonly ServedModel[],
  settings: ServerSettings,
  onRequest?: AppOptions['onRequest'],
): Promise<RunningServer> {
  const { host, port, drainSeconds } = settings
  if (!isLoopback(host) && settings.keys.length === 0)
    throw new ConfigError(`others can reach ${host}: give API keys, or leave it out for this machine alone`, {
      path: 'host',
    })
  const [draining, stopping] = [new AbortController(), new AbortController()]
  const signals = { draining: draining.signal, stopping: stopping.signal }
  const app = createApp(models, { ...settings, ...signals, ...(onRequest && { onRequest }) })
  const server = createAdaptorServer({ fetch: app.fetch, serverOptions: { requestTimeout } }) as Server
  await listen(server, host, port)
  const { port: taken } = server.address() as AddressInfo
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${taken}`,
    async stop() {
      draining.abort()
      await closed(server, drainSeconds, () => stopping.abort())
    },
  }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const problem =
        error.code === 'EADDRINUSE' ? `${port} is taken: name another one` : `cannot be used (${error.code})`
      reject(new ConfigError(problem, { path: 'port', cause: error }))
    })
    server.listen(port, host, resolve)
  })
}

/** Waits for open requests; `onLate` is called once, when their time is over. */
function closed(server: Server, seconds: number, onLate: () => void): Promise<void> {
  return new Promise(resolve => {
    const late = setTimeout(() => {
      onLate()
      setTimeout(() => server.closeAllConnections(), 1000).unref() // who does not read its error is let go
    }, seconds * 1000)
    const idle = setInterval(() => server.closeIdleConnections(), 50) // those that stay open after an answer
    server.close(() => {
      clearTimeout(late)
      clearInterval(idle)
      resolve()
    })
  })
}
