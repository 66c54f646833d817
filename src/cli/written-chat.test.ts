// Conversations by templates of models.
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { writeServedModel } from '../../tests/support/served-model.ts'
import { openModel } from '../models/index.ts'
import { WrittenChat } from './written-chat.ts'

const chatOf = (template: string | null): WrittenChat =>
  new WrittenChat(openModel(writeServedModel(temporaryFolder(), { template }).folder))
const messages = [{ role: 'user' as const, content: 'Hello' }]

test('a conversation is written with the special tokens that the template names', async () => {
  const chat = chatOf(
    '{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}',
  )
  expect(await chat.text(messages)).toMatch(/^.*user: Hello>$/)
})

test('a model without a template, and a template that fails or does not end, are told by the folder', async () => {
  expect(() => chatOf(null)).toThrow('has no chat template')
  await expect(chatOf("{{ raise_exception('no') }}").text(messages)).rejects.toThrow(
    'model: the chat template fails: no',
  )
  const endless = '{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}'
  await expect(chatOf(endless).text(messages)).rejects.toThrow('it takes longer than 2 s')
})
