// A stand-in for an engine's thread: it answers a prompt with the prompt, and dies of 'die'.
import { parentPort } from 'node:worker_threads'

parentPort.on('message', ({ kind, id, request }) => {
  if (kind === 'close') parentPort.close()
  if (kind === 'status') parentPort.postMessage({ kind, id, status: { running: 0 } })
  if (kind !== 'generate') return
  if (request.prompt === 'die') throw new Error('fatal')
  if (request.prompt === 'wait') return
  const end = { reason: 'end-of-text' }
  parentPort.postMessage({ kind: 'part', id, part: { text: request.prompt, tokens: [], end } })
})
parentPort.postMessage({ kind: 'ready', facts: { texts: 1, context: 8, waiting: 1 } })
