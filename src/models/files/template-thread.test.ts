// Templates of whoever made the model.
import { expect, test } from 'vitest'
import { TemplateThread } from './template-thread.ts'

test('one after the other, by one thread', async () => {
  const thread = new TemplateThread('{{ a }}!')
  expect(await Promise.all(['x', 'y', 'z'].map(a => thread.render({ a })))).toEqual(['x!', 'y!', 'z!'])
})

test('what it refuses is told, and the next one succeeds', async () => {
  const thread = new TemplateThread("{% if a == 'x' %}{{ raise_exception('no x') }}{% endif %}{{ a }}")
  const [first, second] = await Promise.allSettled(['x', 'y'].map(a => thread.render({ a })))
  expect(first).toMatchObject({ status: 'rejected', reason: { message: 'no x' } })
  expect(second).toMatchObject({ status: 'fulfilled', value: 'y' })
  await expect(new TemplateThread('{% if %}').render({})).rejects.toThrow()
})

const endless =
  '{% if a %}{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}{% endif %}'

test('one that takes too long ends, and the next one succeeds', async () => {
  const thread = new TemplateThread(`${endless}done`, 0.5)
  const late = thread.render({ a: true })
  const next = thread.render({ a: false })
  await expect(late).rejects.toThrow('it takes longer than 0.5 s')
  expect(await next).toBe('done')
})

test('one that has answered while this thread was busy is not late', async () => {
  const thread = new TemplateThread('{{ a }}', 0.5)
  await thread.render({ a: 'x' }) // its thread has begun
  await new Promise(setImmediate) // timers come next, and messages after them
  const answer = thread.render({ a: 'y' })
  await null // it has been asked
  await null
  for (const end = performance.now() + 700; performance.now() < end; );
  expect(await answer).toBe('y')
})

test('one that writes or keeps too much ends', async () => {
  const long =
    "{% set n = namespace(x='x' * 1024) %}{% for i in range(20) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"
  await expect(new TemplateThread(long).render({})).rejects.toThrow()
  const list =
    '{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = n.x + range(1000000) %}{% endfor %}'
  await expect(new TemplateThread(list, 20).render({})).rejects.toThrow('it takes more than 256 MiB')
})
