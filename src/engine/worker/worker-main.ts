// The thread in which an engine runs.

import { parentPort, workerData } from 'node:worker_threads'
import { invariant } from '../../errors.ts'
import { Engine } from '../batching/engine.ts'
import { type FromEngine, plainError, type ToEngine, type WorkerStart } from './messages.ts'

invariant(parentPort, 'this file is for worker threads')
const port = parentPort
const send = (message: FromEngine): void => port.postMessage(message)
const { path, options } = workerData as WorkerStart

try {
  serve(await Engine.open(path, options))
} catch (error) {
  send({ kind: 'failed', error: plainError(error) })
}

function serve(engine: Engine): void {
  const running = new Map<number, AbortController>()
  port.on('message', (message: ToEngine) => {
    if (message.kind === 'generate') void generate(engine, message, running)
    else if (message.kind === 'cancel') running.get(message.id)?.abort()
    else if (message.kind === 'status') void tellStatus(engine, message.id)
    else void engine.close().then(() => port.close())
  })
  send({ kind: 'ready', facts: engine.facts })
}

async function generate(
  engine: Engine,
  { id, request }: Extract<ToEngine, { kind: 'generate' }>,
  running: Map<number, AbortController>,
): Promise<void> {
  const cancelled = new AbortController()
  running.set(id, cancelled)
  try {
    for await (const part of engine.generate({ ...request, signal: cancelled.signal }))
      send({ kind: 'part', id, part })
  } catch (error) {
    send({ kind: 'error', id, error: plainError(error) })
  } finally {
    running.delete(id)
  }
}

async function tellStatus(engine: Engine, id: number): Promise<void> {
  send({ kind: 'status', id, status: await engine.status() })
}
