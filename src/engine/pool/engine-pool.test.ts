// Which models are loaded when, with engines that say what they do.
import { describe, expect, test } from 'vitest'
import type { EngineFacts, EngineStatus, TextEngine } from '../batching/engine.ts'
import { EnginePool, type PoolOptions } from './engine-pool.ts'

const facts: EngineFacts = { texts: 1, context: 8, cacheTokens: 128, waiting: 2 }

/** Models by name, and what became of them. A text goes on until it is let go. */
function models(names: readonly string[], options: PoolOptions) {
  const pool = new EnginePool(options)
  const log: string[] = []
  const goOn = new Map<string, () => void>()
  const open = (name: string) => async (): Promise<TextEngine> => {
    log.push(`open ${name}`)
    return {
      facts,
      isReady: true,
      async *generate({ prompt }) {
        log.push(`${prompt} by ${name}`)
        await new Promise<void>(resolve => goOn.set(String(prompt), resolve))
        yield { text: String(prompt), tokens: [] }
      },
      status: async () => ({ running: 1 }) as EngineStatus,
      close: async () => void log.push(`close ${name}`),
    }
  }
  const engines = new Map(names.map(name => [name, pool.add(facts, open(name))]))
  const ask = async (name: string, prompt: string): Promise<string> => {
    let text = ''
    for await (const part of engines.get(name)!.generate({ prompt })) text += part.text
    return text
  }
  return { pool, log, engines, ask, end: (prompt: string) => goOn.get(prompt)?.() }
}

const settled = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 5))

describe('a pool of one', () => {
  test('loads on demand, and gives up what nobody uses', async () => {
    const { log, engines, ask, end } = models(['a', 'b'], { most: 1 })
    expect(await engines.get('a')!.status()).toBeNull()
    const first = ask('a', 'one')
    await settled()
    expect(await engines.get('a')!.status()).toMatchObject({ running: 1 })
    end('one')
    expect(await first).toBe('one')
    expect(log).toEqual(['open a', 'one by a']) // it stays, for the next one
    const again = ask('a', 'two')
    await settled()
    end('two')
    await again
    const other = ask('b', 'three')
    await settled()
    end('three')
    await other
    expect(log).toEqual(['open a', 'one by a', 'two by a', 'close a', 'open b', 'three by b'])
  })

  test('waits for texts to end, and lets nobody pass who came later', async () => {
    const { log, ask, end } = models(['a', 'b'], { most: 1 })
    const all = [ask('a', 'one'), ask('b', 'two'), ask('a', 'three')]
    await settled()
    expect(log).toEqual(['open a', 'one by a'])
    end('one')
    await settled()
    expect(log.slice(2)).toEqual(['close a', 'open b', 'two by b'])
    end('two')
    await settled()
    expect(log.slice(5)).toEqual(['close b', 'open a', 'three by a'])
    end('three')
    expect(await Promise.all(all)).toEqual(['one', 'two', 'three'])
  })

  test('lets as many wait as a model does, and who goes makes room for nobody', async () => {
    const { log, engines, ask, end } = models(['a', 'b'], { most: 1 })
    const first = ask('a', 'one')
    await settled()
    const gone = new AbortController()
    const left = (async () => {
      const parts = []
      for await (const part of engines.get('b')!.generate({ prompt: 'x', signal: gone.signal }))
        parts.push(part)
      return parts
    })()
    const other = ask('b', 'two')
    await settled()
    await expect(ask('b', 'three')).rejects.toMatchObject({ name: 'BusyError', waiting: 2 })
    gone.abort()
    expect(await left).toMatchObject([{ end: { reason: 'aborted', newTokens: 0 } }])
    end('one')
    await first
    await settled()
    end('two')
    await other
    expect(log).toEqual(['open a', 'one by a', 'close a', 'open b', 'two by b'])
  })

  test('lets nobody wait beyond a deadline, neither for a place nor while a model is loaded', async () => {
    const { pool, log, engines, ask, end } = models(['a', 'b'], { most: 1 })
    const first = ask('a', 'one')
    await settled()
    const late = async (engine: TextEngine): Promise<unknown> => {
      for await (const { end } of engine.generate({ prompt: 'x', deadlineMs: 5 })) return end
      return null
    }
    const ending = { reason: 'deadline', promptTokens: 0, newTokens: 0 }
    expect(await late(engines.get('b')!)).toMatchObject(ending)
    end('one')
    await first
    let ready = (_: TextEngine): void => undefined
    const slow = pool.add(facts, () => new Promise(resolve => (ready = resolve)))
    expect(await late(slow)).toMatchObject(ending)
    ready({ facts, isReady: true, close: async () => void log.push('close slow') } as never)
    const other = ask('b', 'two') // whose place nobody holds
    await settled()
    end('two')
    await other
    expect(log.slice(2)).toEqual(['close a', 'close slow', 'open b', 'two by b'])
  })

  test('says nothing of a model that is being loaded', async () => {
    const { pool } = models([], { most: 1 })
    let ready = (_: TextEngine): void => undefined
    const slow = pool.add(facts, () => new Promise(resolve => (ready = resolve)))
    const loading = pool.load(slow)
    await settled()
    expect(await slow.status()).toBeNull()
    ready({
      facts,
      isReady: true,
      status: async () => ({ running: 0 }),
      close: async () => undefined,
    } as never)
    await loading
    expect(await slow.status()).toEqual({ running: 0 })
  })

  test('has no second model in memory while the first one goes', async () => {
    const pool = new EnginePool({ most: 1, idleSeconds: 0.01 })
    let [open, most] = [0, 0]
    const model = (): TextEngine =>
      pool.add(facts, async () => {
        most = Math.max(most, ++open)
        const close = async (): Promise<void> => {
          await new Promise(resolve => setTimeout(resolve, 30))
          open--
        }
        return { facts, isReady: true, close, status: async () => null } as never
      })
    const [a, b] = [model(), model()]
    await pool.load(a)
    await new Promise(resolve => setTimeout(resolve, 20)) // it goes by itself
    await pool.load(b)
    expect(most).toBe(1)
    await pool.close()
    expect(open).toBe(0)
  })

  test('goes on after a model that cannot be opened', async () => {
    const { pool, ask, end } = models(['a'], { most: 1 })
    const broken = pool.add(facts, () => Promise.reject(new Error('no such file')))
    const read = async (): Promise<void> => {
      for await (const _ of broken.generate({ prompt: 'x' }));
    }
    const both = Promise.allSettled([read(), read()])
    expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    const next = ask('a', 'one')
    await settled()
    end('one')
    expect(await next).toBe('one')
  })

  test('goes on after one that cannot be opened, and for which nobody waits any more', async () => {
    const { pool, ask, end } = models(['a'], { most: 1 })
    let fail = (): void => undefined
    const broken = pool.add(
      facts,
      () => new Promise((_, reject) => (fail = () => reject(new Error('no file')))),
    )
    const gone = new AbortController()
    const left = broken.generate({ prompt: 'x', signal: gone.signal }).next()
    await settled()
    gone.abort()
    expect(await left).toMatchObject({ value: { end: { reason: 'aborted' } } })
    fail()
    await settled()
    let opened = 0
    const again = pool.load(broken).catch(() => opened++)
    await settled()
    fail()
    await again
    expect(opened).toBe(1) // it was opened anew, and failed anew
    const next = ask('a', 'one')
    await settled()
    end('one')
    expect(await next).toBe('one')
  })

  test('closed, it ends those that wait', async () => {
    const { pool, log, ask, end } = models(['a', 'b'], { most: 1 })
    const all = Promise.allSettled([ask('a', 'one'), ask('b', 'two')])
    await settled()
    await pool.close()
    end('one')
    const [, second] = await all
    expect(second).toMatchObject({ status: 'rejected', reason: { message: 'the engines were closed' } })
    expect(log).toContain('close a')
  })
})

test('those that were used longest ago go first', async () => {
  const { log, ask, end } = models(['a', 'b', 'c'], { most: 2 })
  const write = async (name: string, prompt: string): Promise<void> => {
    const text = ask(name, prompt)
    await settled()
    end(prompt)
    await text
  }
  for (const [i, name] of ['a', 'b', 'a', 'c'].entries()) await write(name, `${i}`)
  expect(log.filter(line => /open|close/.test(line))).toEqual(['open a', 'open b', 'close b', 'open c'])
})

test('a model that nobody asks is given up after a while', async () => {
  const { log, ask, end } = models(['a'], { most: 1, idleSeconds: 0.02 })
  const text = ask('a', 'one')
  await settled()
  end('one')
  await text
  expect(log).toEqual(['open a', 'one by a'])
  await expect.poll(() => log.at(-1)).toBe('close a')
})
