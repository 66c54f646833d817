// The Jinja template with which a model wants conversations written out.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Template } from '@huggingface/jinja'
import { FormatError } from '../../errors.ts'
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

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant'
  content: string
}

/**
 * A conversation as the model's template writes it, ready for the model's answer.
 *
 * @param tokenName the text of a special token, by role
 * @throws FormatError when the template cannot be read, or refuses the conversation
 */
export function renderChat(
  template: string,
  messages: readonly ChatMessage[],
  tokenName: { bos?: string | undefined; eos?: string | undefined },
  source: string,
): string {
  try {
    return new Template(template).render({
      messages: messages.map(message => ({ ...message })),
      add_generation_prompt: true,
      bos_token: tokenName.bos ?? '',
      eos_token: tokenName.eos ?? '',
    })
  } catch (cause) {
    throw new FormatError(`the chat template fails: ${(cause as Error).message}`, { file: source, cause })
  }
}
