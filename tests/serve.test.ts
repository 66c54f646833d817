// `switchyard serve` as users run it: a process, a port, clients that come and go.
import { copyFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterEach, expect, test } from 'vitest'
import { runCli, startCli, temporaryFolder } from './support/cli.ts'
import { writeServedModel } from './support/served-model.ts'

const folder = temporaryFolder()
const { gguf } = writeServedModel(folder)
const started: ReturnType<typeof startCli>[] = []
afterEach(() => {
  for (const { child } of started.splice(0)) child.kill('SIGKILL')
})

/** A server that listens, and where. */
async function start(...args: string[]) {
  const server = startCli(['serve', gguf, '--port', '0', ...args])
  started.push(server)
  const url = await new Promise<string>((resolve, reject) => {
    let seen = ''
    server.child.stderr?.on('data', chunk => {
      seen += chunk
      const [, found] = /at (http:\S+\/v1)/.exec(seen) ?? []
      if (found) resolve(found)
    })
    void server.ended.then(({ stderr }) => reject(new Error(stderr)))
  })
  const client = new OpenAI({ baseURL: url, apiKey: 'secret-key', maxRetries: 0 })
  return { ...server, url, client }
}

test('several models share a process, each loaded when it is asked for', async () => {
  const other = join(folder, 'other.gguf')
  copyFileSync(gguf, other)
  const { client, url, child, ended } = await start(other, '--loaded', '1')
  const { data } = await client.models.list()
  expect(data.map(({ id }) => id)).toEqual(['model', 'other'])
  const isLoaded = async (): Promise<string[]> => {
    const text = await (await fetch(new URL('/metrics', url))).text()
    return [...text.matchAll(/^switchyard_steps_total{model_name="(\w+)"}/gm)].map(([, name = '']) => name)
  }
  expect(await isLoaded()).toEqual(['model'])
  const request = { ...long, max_tokens: 8 }
  const answers = await Promise.all(
    ['other', 'model', 'other'].map(model => client.completions.create({ ...request, model })),
  )
  expect(answers.map(({ model }) => model)).toEqual(['other', 'model', 'other'])
  expect(new Set(answers.map(({ choices }) => choices[0]?.text)).size).toBe(1) // they are the same
  expect((await isLoaded()).length).toBe(1)
  await expect(client.completions.create({ ...request, model: 'third' })).rejects.toThrow(
    "there is 'model', 'other'",
  )
  await expect(
    client.completions.create({ ...request, model: undefined as unknown as string }),
  ).rejects.toThrow("model: is needed: there are 'model', 'other'")
  child.kill('SIGTERM')
  expect((await ended).code).toBe(0)
})

test.each([
  [[gguf], "model: two models are called 'model'"],
  [[folder, '--name', 'x'], '--name: is for one model'],
  [[folder, '--memory', '1GiB', '--loaded', '2'], '--loaded: must be 1 with --memory'],
])('serve a model and %j is refused', async (args, message) => {
  const { code, stderr } = await runCli(['serve', gguf, ...args])
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})

const long = { model: 'model', prompt: 'Once', temperature: 0, max_tokens: 400, logit_bias: { '2': -100 } }

test('answers clients at once, and one that goes makes room', async () => {
  const { client, child, ended, url } = await start('--texts', '2', '--json')
  const request = { ...long, max_tokens: 20 }
  const answers = await Promise.all([1, 2, 3].map(() => client.completions.create(request)))
  expect(new Set(answers.map(({ choices }) => choices[0]?.text)).size).toBe(1)
  const gone = await client.completions.create({ ...long, max_tokens: 1000, stream: true })
  for await (const _ of gone) break
  const running = async (): Promise<string | undefined> =>
    /num_requests_running\S* (\d)/.exec(await (await fetch(new URL('/metrics', url))).text())?.[1]
  await expect.poll(running).toBe('0')
  child.kill('SIGTERM')
  const { code, stdout } = await ended
  expect(code).toBe(0)
  const lines = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const completions = lines.filter(({ path }) => path === '/v1/completions')
  expect(completions.length).toBe(4)
  expect(completions[0]).toMatchObject({
    method: 'POST',
    status: 200,
    newTokens: 20,
    reasons: ['max-new-tokens'],
  })
})

test('clients that break off in the middle of an answer end nothing but that', async () => {
  const { client, child, url } = await start('--texts', '8')
  const { port, hostname } = new URL(url)
  const body = JSON.stringify({ ...long, max_tokens: 1000, stream: true })
  const head = `POST /v1/completions HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`
  const breakOff = (): Promise<void> =>
    new Promise(resolve => {
      const socket = connect(Number(port), hostname, () => socket.write(head + body))
      socket.once('data', () => resolve(void socket.resetAndDestroy()))
    })
  await Promise.all(Array.from({ length: 8 }, breakOff))
  child.kill('SIGPIPE') // what the system sends when an answer is written to somebody who has gone
  const { choices } = await client.completions.create({ ...long, max_tokens: 200 })
  expect(choices[0]?.finish_reason).toBe('length')
  expect((await client.models.list()).data.length).toBe(1)
})

test('SIGTERM lets a text end, and takes no other', async () => {
  const { client, child, ended } = await start()
  const stream = await client.completions.create({ ...long, stream: true })
  let [text, reason, seen] = ['', '', 0]
  for await (const { choices } of stream) {
    if (++seen === 3) child.kill('SIGTERM')
    text += choices[0]?.text ?? ''
    reason = choices[0]?.finish_reason ?? reason
  }
  expect(reason).toBe('length')
  expect(text.length).toBeGreaterThan(100)
  const { code, stderr } = await ended
  expect(code).toBe(0)
  expect(stderr).toMatch(/POST \/v1\/completions 200 [\d.]+ s, prompt 4 \(0 cached\), 400 new/)
  await expect(client.models.list()).rejects.toThrow('Connection error')
})

test('what goes on beyond its time ends with an error', async () => {
  const { client, child, ended } = await start('--drain', '0')
  const stream = await client.completions.create({ ...long, max_tokens: 1000, stream: true })
  const read = async (): Promise<void> => {
    let seen = 0
    for await (const _ of stream) if (++seen === 3) child.kill('SIGTERM')
  }
  await expect(read()).rejects.toThrow('the server stops')
  expect((await ended).code).toBe(0)
})

test('keys from a file are demanded where others can reach it', async () => {
  const keys = join(folder, 'keys')
  writeFileSync(keys, '# people\nsecret-key\n')
  const { client, url } = await start('--host', '0.0.0.0', '--api-key-file', keys)
  expect((await client.models.list()).data.map(({ id }) => id)).toEqual(['model'])
  expect((await fetch(`${url}/models`)).status).toBe(401)
})

test('mistakes are one line', async () => {
  const open = await runCli(['serve', gguf, '--host', '0.0.0.0'])
  expect(open).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--host: others can reach 0.0.0.0: give API keys'),
  })
  const taken = createServer()
  await new Promise<void>(resolve => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as { port: number }
  const busy = await runCli(['serve', gguf, '--port', `${port}`])
  expect(busy).toMatchObject({ code: 2, stderr: expect.stringContaining(`--port: ${port} is taken`) })
  taken.close()
  const none = await runCli(['serve', gguf, '--api-key-file', 'none'])
  expect(none).toMatchObject({ code: 2, stderr: 'error: --api-key-file: none cannot be read (ENOENT)\n' })
})
