// The Jinja template with which a model wants conversations written out.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Tokenizer } from '../../data/index.ts'
import { readJson } from './folder.ts'
import { isGgufFile } from './gguf/open.ts'
import { ggufChatTemplate } from './gguf/read-tokenizer.ts'

const largestTemplate = 1 << 20

/** The template of a model folder or GGUF file: chat_template.jinja, or `chat_template` of tokenizer_config.json. */
export function chatTemplateOf(path: string): string | null {
  if (isGgufFile(path)) return ggufChatTemplate(path)
  const file = join(path, 'chat_template.jinja')
  if (existsSync(file) && statSync(file).size <= largestTemplate) return readFileSync(file, 'utf8')
  const config = join(path, 'tokenizer_config.json')
  if (!existsSync(config)) return null
  const { chat_template: template } = readJson(config) as { chat_template?: unknown }
  if (typeof template === 'string') return template
  // Several by name: the one for plain conversations.
  const named = Array.isArray(template) ? (template as { name?: unknown; template?: unknown }[]) : []
  const plain = named.find(({ name }) => name === 'default')?.template
  return typeof plain === 'string' ? plain : null
}

/** The special tokens that templates write out, by name. */
export function templateTokens(tokenizer: Tokenizer): { bos_token: string; eos_token: string } {
  const nameOf = (id: number | undefined): string =>
    (id === undefined ? undefined : tokenizer.idToToken(id)) ?? ''
  const { bos, eos } = tokenizer.specialIds
  return { bos_token: nameOf(bos), eos_token: nameOf(eos) }
}
