// --json-schema: what generate and chat write is of the schema, by a random model too.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runCli, startCli, temporaryFolder } from './support/cli.ts'
import { writeServedModel } from './support/served-model.ts'

const folder = temporaryFolder()
const { gguf } = writeServedModel(folder)
const fileOf = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}
const schema = fileOf(
  'schema.json',
  JSON.stringify({ type: 'object', properties: { name: { enum: ['Ada', 'Bob'] } }, required: ['name'] }),
)
const drawn = ['--temperature', '1.5', '--json-schema', schema]

test('generate: each of several texts', async () => {
  const written = await runCli(['generate', gguf, '--prompt', 'x', '--samples', '3', ...drawn, '--json'])
  const { samples } = JSON.parse(written.stdout) as { samples: { text: string; reason: string }[] }
  expect(samples.map(({ reason }) => reason)).toEqual(Array(3).fill('end-of-text'))
  for (const { text } of samples) expect(text).toMatch(/^\{"name": ?"(Ada|Bob)"\}$/)
  const short = await runCli(['generate', gguf, '--prompt', 'x', ...drawn, '--max-new-tokens', '3'])
  expect(short.stderr).toContain('note: ended after 3 tokens, before its form did: raise --max-new-tokens')
})

test('chat: each answer', async () => {
  const { child, ended } = startCli(['chat', gguf, ...drawn, '--quiet'])
  child.stdin?.end('hello\nagain\n')
  const { stdout } = await ended
  expect(stdout).toMatch(/^(\{"name": ?"(Ada|Bob)"\}\n){2}$/)
})

test.each([
  ['none.json', null, /none\.json: no such file/],
  ['text.json', 'a: 1', /text\.json: is no JSON/],
  ['list.json', '[]', /list\.json: must be a JSON schema, an object/],
  [
    'not.json',
    '{"type": "object", "properties": {"a": {"not": {}}}}',
    /not\.json\.properties\.a\.not: cannot be held to/,
  ],
])('%s is refused before the model is loaded', async (name, content, message) => {
  const file = content === null ? join(folder, name) : fileOf(name, content)
  const refused = await runCli(['generate', gguf, '--prompt', 'x', '--json-schema', file])
  expect(refused.stderr).toMatch(message)
  expect(refused.stderr.trim().split('\n').length).toBe(1)
  expect(refused.code).toBeGreaterThan(0)
})
