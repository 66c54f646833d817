import { expect, test } from 'vitest'
import { servedApp } from '../../tests/support/served-app.ts'
import { RateLimit } from './rate-limit.ts'

test('a key has so many requests a minute, which come back one by one', () => {
  let now = 1e6
  const limit = new RateLimit(3, () => now)
  const isTaken = (key: string): boolean => {
    try {
      limit.take(key)
      return true
    } catch (error) {
      expect(error).toMatchObject({ status: 429, retryAfter: 20 })
      return false
    }
  }
  expect([1, 2, 3, 4].map(() => isTaken('a'))).toEqual([true, true, true, false])
  expect(isTaken('b')).toBe(true)
  now += 20_000
  expect([isTaken('a'), isTaken('a')]).toEqual([true, false])
  now += 3_600_000 // no more than a minute's are kept
  expect([1, 2, 3, 4].map(() => isTaken('a'))).toEqual([true, true, true, false])
})

test('who asks too often is told when to come again; whether the server is there may always be asked', async () => {
  const { appOf } = await servedApp()
  const app = appOf({ perMinute: 2, keys: ['one', 'two'] })
  const ask = (path: string, key = 'one') =>
    app.request(path, { headers: { authorization: `Bearer ${key}` } })
  const paths = ['/v1/models', '/v1/models', '/v1/models', '/health', '/ready']
  const all: Response[] = []
  for (const path of paths) all.push(await ask(path))
  expect(all.map(({ status }) => status)).toEqual([200, 200, 429, 200, 200])
  expect(Number(all[2]?.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(await all[2]?.json()).toMatchObject({
    error: { type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  })
  expect((await ask('/v1/models', 'two')).status).toBe(200)
})
