// What files come to for a model: by its own template, once, and again when they change.
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { writeServedModel } from '../../tests/support/served-model.ts'
import { openModel } from '../models/index.ts'
import { placeOfData, prepareForModel } from './model-data.ts'

const folder = temporaryFolder()
const strict = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}x"
const opened = openModel(writeServedModel(folder, { template: strict }).folder)

test('what a template refuses is named by its line, its thread ended or not', async () => {
  const data = join(folder, 'chats.jsonl')
  const turns = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
  ]
  const lines = [turns, [{ role: 'system', content: 's' }, ...turns]]
  writeFileSync(data, lines.map(messages => JSON.stringify({ messages })).join('\n'))
  await expect(prepareForModel(opened, { out: join(folder, 'corpus'), paths: [data] })).rejects.toThrow(
    `${data}: line 2: the chat template refuses it (`,
  )
})

test('files without text are told of', async () => {
  const texts = join(folder, 'mixed')
  mkdirSync(texts)
  writeFileSync(join(texts, 'a.txt'), 'Points lead trains from one track to another.\n\n'.repeat(40))
  writeFileSync(join(texts, 'empty.txt'), '')
  const { skipped } = await prepareForModel(opened, {
    out: join(folder, 'texts'),
    paths: [texts],
    validation: 0,
  })
  expect(skipped.map(({ file }) => file)).toEqual([join(texts, 'empty.txt')])
})

test('a corpus has another place when a file in a folder has changed', async () => {
  const texts = join(folder, 'texts-of-mine')
  mkdirSync(join(texts, 'deep'), { recursive: true })
  const file = join(texts, 'deep', 'a.txt')
  const place = (): Promise<string> => placeOfData(opened, { paths: [texts] })
  const write = (text: string, seconds: number): void => {
    writeFileSync(file, text)
    utimesSync(file, seconds, seconds)
  }
  write('one', 1)
  const first = await place()
  expect(await place()).toBe(first)
  write('two', 2)
  expect(await place()).not.toBe(first)
  write('one', 1)
  expect(await place()).toBe(first)
})
