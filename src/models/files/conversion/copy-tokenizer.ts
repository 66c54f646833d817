// The tokenizer of a model, for a folder that the model is converted to.

import { copyFileSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isGgufFile } from '../gguf/open.ts'
import { ggufChatTemplate, ggufTokenizerFiles } from '../gguf/read-tokenizer.ts'

/** What belongs to a tokenizer, and to generation, in a model folder. */
const files = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'generation_config.json',
]

/** Copies a folder's tokenizer files, or writes out what a GGUF file has in its metadata. */
export function copyTokenizer(source: string, folder: string): void {
  if (!isGgufFile(source)) {
    for (const name of files)
      if (existsSync(join(source, name))) copyFileSync(join(source, name), join(folder, name))
    return
  }
  const written = ggufTokenizerFiles(source)
  for (const [name, content] of Object.entries(written ?? {})) writeFileSync(join(folder, name), content)
  const template = ggufChatTemplate(source)
  if (template !== null) writeFileSync(join(folder, 'chat_template.jinja'), template)
}
