// Which tokens pad, begin and end a text. tokenizer.json does not say; the files beside it or custom do.

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { SpecialIds } from './tokenizer.ts'

/** Names in use, most telling first. */
const customary = {
  pad: ['<pad>', '[PAD]', '<|pad|>', '<|finetune_right_pad_id|>', '<|endoftext|>'],
  bos: ['<s>', '<bos>', '<|begin_of_text|>', '<|startoftext|>', '[BOS]', '[CLS]'],
  eos: ['</s>', '<eos>', '<|end_of_text|>', '<|endoftext|>', '[EOS]', '[SEP]'],
} as const satisfies Record<keyof SpecialIds, readonly string[]>

/** Files beside tokenizer.json that name them. */
export const specialFiles = ['tokenizer_config.json', 'special_tokens_map.json'] as const

/**
 * Looks in `tokenizer_config.json` and `special_tokens_map.json` beside the file (null: there is none), then for
 * customary names.
 */
export function findSpecialIds(file: string | null, idOf: (token: string) => number | undefined): SpecialIds {
  const beside = file === null ? [] : specialFiles.map(name => readObject(join(dirname(file), name)))
  const find = (role: keyof SpecialIds): number | undefined =>
    [...beside.map(json => tokenName(json[`${role}_token`])), ...customary[role]]
      .map(name => (name === undefined ? undefined : idOf(name)))
      .find(id => id !== undefined)
  return { pad: find('pad'), bos: find('bos'), eos: find('eos') }
}

/** These files only help; a missing or odd one is no error. */
function readObject(file: string): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(readFileSync(file, 'utf8'))
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** A token is written as its name or as an object with its properties. */
function tokenName(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  const { content } = (value ?? {}) as { content?: unknown }
  return typeof content === 'string' ? content : undefined
}
