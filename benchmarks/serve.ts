// A server under load: 64 clients for two minutes, of whom some go in the middle of an answer, some read slowly and some send what
// is wrong. No well-formed request may fail, and memory may not grow in the second half.
//   usage: serve.ts [SECONDS]

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { median } from './support/contestant.ts'
import { report } from './support/report.ts'
import { servedStoredModel } from './support/stored-model.ts'

const seconds = Number(process.argv[2] ?? 120)
const clients = 64
const texts = 16
const root = fileURLToPath(new URL('..', import.meta.url))

/** Milliseconds, and how requests ended. */
const firstTokens: number[] = []
const betweenTokens: number[] = []
const ended = { whole: 0, left: 0, slow: 0, refused: 0 }
const failures: string[] = []

let state = 1
/** In 0 .. below, the same in each run. */
function random(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * below)
}

const file = servedStoredModel()
execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: 'inherit' }) // the engine's thread runs built code
const { server, url } = await started()
const resident: number[] = []
const sampling = setInterval(() => resident.push(residentBytes(server)), 1000)
const end = performance.now() + seconds * 1000
await Promise.all(Array.from({ length: clients }, client))
clearInterval(sampling)
const tokensPerSecond = betweenTokens.length / seconds
server.kill('SIGTERM')
const code = await new Promise(resolve => server.once('exit', resolve))

const half = resident.slice(resident.length >> 1)
const growth = median(half.slice(-10)) / median(half.slice(0, 10)) - 1
const at = (values: readonly number[], share: number): string =>
  (values.toSorted((a, b) => a - b)[Math.floor(share * (values.length - 1))] ?? Number.NaN).toFixed(0)
report({
  name: 'serve',
  setting: { clients, texts, seconds },
  rows: [
    ['', 'p50, ms', 'p99, ms'],
    ['first token', at(firstTokens, 0.5), at(firstTokens, 0.99)],
    ['between tokens', at(betweenTokens, 0.5), at(betweenTokens, 0.99)],
  ],
  notes: [
    `requests: ${ended.whole} whole, ${ended.slow} read slowly, ${ended.left} left in the middle, ${ended.refused} refused as they must be`,
    `tokens written: ${tokensPerSecond.toFixed(0)} per second`,
    `memory: ${(median(half) / 1e6).toFixed(0)} MB`,
    ...failures.slice(0, 5),
    `well-formed requests that failed: ${failures.length} (aim: at most 0)`,
    `growth of memory in the second half: ${(100 * growth).toFixed(1)}% (aim: at most 2)`,
    `exit code after SIGTERM: ${code} (aim: at most 0)`,
  ],
  data: { firstTokens: firstTokens.length, ended, resident },
})

async function started(): Promise<{ server: ChildProcess; url: string }> {
  const args = [file, '--port', '0', '--texts', `${texts}`, '--context', '1024', '--json']
  const child = spawn(process.execPath, ['dist/cli/main.js', 'serve', ...args], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, SWITCHYARD_API_KEYS: '' },
  })
  const url = await new Promise<string>((resolve, reject) => {
    let seen = ''
    child.stderr.on('data', chunk => {
      seen += chunk
      const [, found] = /at (http:\S+\/v1)/.exec(seen) ?? []
      if (found) resolve(found)
    })
    child.once('exit', () => reject(new Error(seen)))
  })
  return { server: child, url }
}

function residentBytes({ pid }: ChildProcess): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}

async function client(): Promise<void> {
  while (performance.now() < end) {
    if (random(20) === 0) await sendWrong()
    else await ask().catch(error => failures.push(String(error)))
  }
}

/** Not JSON, a field that nobody knows, too large: each has its answer. */
async function sendWrong(): Promise<void> {
  const [body, status] = [
    ['{', 400],
    [JSON.stringify({ prompt: 'x', frobnicate: 1 }), 400],
    [JSON.stringify({ prompt: 'x'.repeat(2 ** 21) }), 413],
  ][random(3)] as [string, number]
  const response = await post(body).catch(() => null) // the connection may be closed before all of a large one is sent
  await response?.body?.cancel().catch(() => undefined)
  if (response && response.status !== status) failures.push(`${response.status} in place of ${status}`)
  ended.refused++
}

function post(body: string, signal?: AbortSignal): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  return fetch(`${url}/completions`, { method: 'POST', headers, body, ...(signal && { signal }) })
}

async function ask(): Promise<void> {
  const prompt = Array.from({ length: 1 + random(300) }, () => 3 + random(250))
  const maxTokens = 8 + random(56)
  const kind = random(10) === 0 ? 'left' : random(20) === 0 ? 'slow' : 'whole'
  const leavesAfter = kind === 'left' ? random(maxTokens) : Number.POSITIVE_INFINITY
  const gone = new AbortController()
  const start = performance.now()
  const request = { prompt, max_tokens: maxTokens, temperature: 1, logprobs: 0, stream: true }
  const response = await post(JSON.stringify(request), gone.signal)
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
  let last: number | null = null
  let tokens = 0
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    const now = performance.now()
    text += decoder.decode(chunk, { stream: true })
    if (last === null) firstTokens.push(now - start)
    else betweenTokens.push(now - last)
    last = now
    if (++tokens > leavesAfter) break
    if (kind === 'slow') await new Promise(resolve => setTimeout(resolve, 50))
  }
  gone.abort()
  ended[kind]++
  if (kind !== 'left' && !text.endsWith('data: [DONE]\n\n')) throw new Error(`cut off: ${text.slice(-200)}`)
}
