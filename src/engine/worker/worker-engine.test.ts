// An engine in a thread of its own, as the package builds it; and what becomes of requests when the thread dies.
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { writeServedModel } from '../../../tests/support/served-model.ts'
import { Engine, type TextEngine, WorkerEngine } from '../index.ts'

const { gguf } = writeServedModel(temporaryFolder())
const fragile = new URL('../../../tests/support/fragile-worker.mjs', import.meta.url)

async function textOf(engine: TextEngine, prompt: string, signal?: AbortSignal): Promise<string> {
  let text = ''
  for await (const part of engine.generate({ prompt, temperature: 0, maxNewTokens: 30, signal }))
    text += part.text
  return text
}

test('writes in another thread what it writes in this one, and this one stays free', async () => {
  const [here, there] = await Promise.all([Engine.open(gguf), WorkerEngine.open(gguf)])
  expect(there.facts).toEqual(here.facts)
  const prompts = ['Once', 'upon', 'a time there was']
  const expected = await Promise.all(prompts.map(prompt => textOf(here, prompt)))
  expect(await Promise.all(prompts.map(prompt => textOf(there, prompt)))).toEqual(expected)
  expect(await there.status()).toMatchObject({ running: 0, restarts: 0 })
  await expect(there.generate({ prompt: 'x', topP: 2 }).next()).rejects.toMatchObject({
    name: 'ConfigError',
    path: 'topP',
  })
  const stopped = new AbortController()
  const parts = there.generate({ prompt: 'x', maxNewTokens: 900, stopIds: [], signal: stopped.signal })
  await parts.next()
  stopped.abort()
  let reason: string | undefined
  for await (const part of parts) reason = part.end?.reason ?? reason
  expect(reason).toBe('aborted')
  await Promise.all([here.close(), there.close()])
  await expect(there.generate({ prompt: 'x' }).next()).rejects.toThrow('the engine was closed')
})

test('says why it does not start', async () => {
  const path = fileURLToPath(new URL('../../../tests/fixtures/switch_transformers', import.meta.url))
  await expect(WorkerEngine.open(path)).rejects.toThrow('is no decoder')
  await expect(WorkerEngine.open(gguf, {}, new URL('data:text/javascript,throw 1'))).rejects.toThrow(
    'the engine does not start',
  )
})

test('when the thread dies requests end with an error, and the next one succeeds', async () => {
  const engine = await WorkerEngine.open('any', {}, fragile)
  expect(await textOf(engine, 'hello')).toBe('hello')
  const waiting = textOf(engine, 'wait')
  const both = await Promise.allSettled([waiting, textOf(engine, 'die')])
  for (const one of both)
    expect(one).toMatchObject({ reason: { message: expect.stringContaining('the engine stopped (fatal)') } })
  expect(await textOf(engine, 'hello')).toBe('hello')
  expect(await engine.status()).toMatchObject({ restarts: 1 })
  await engine.close()
})
