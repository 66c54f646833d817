// A text in one language, to be answered in another.

import { encodeSide, type Languages, languageToken, type Tokenizer } from '../../data/index.ts'
import { ConfigError, DataError } from '../../errors.ts'
import type { Rows } from './session.ts'
import { promptIds } from './text-writer.ts'

/**
 * Prompts as an encoder reads them, and what their answers begin with: the tokens of the languages that are named.
 *
 * @throws ConfigError for a tokenizer that has no languages, and for a language that is not among them
 */
export async function promptsInLanguages(
  tokenizer: Tokenizer,
  prompts: readonly string[],
  { source, target }: Languages = {},
  isTemplated = false,
): Promise<{ rows: Rows; beginnings: Rows | undefined }> {
  const beginning = target === undefined ? undefined : [tokenOf(target, tokenizer, 'languages.target')]
  if (source !== undefined) tokenOf(source, tokenizer, 'languages.source')
  const rows =
    source === undefined
      ? await promptIds(tokenizer, prompts, { addSpecialTokens: !isTemplated })
      : await Promise.all(prompts.map(prompt => encodeSide(prompt, source, tokenizer, isTemplated)))
  return { rows, beginnings: beginning && prompts.map(() => beginning) }
}

function tokenOf(language: string, tokenizer: Tokenizer, path: string): number {
  try {
    const token = languageToken(language, tokenizer)
    if (token !== null) return token
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause
    throw new ConfigError(cause.message, { path, cause })
  }
  throw new ConfigError(`the tokenizer has no languages, and so no '${language}': leave it out`, { path })
}
