// A text in one language, to be answered in another.

import { encodeSide, type Languages, languageToken, type Tokenizer } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import type { Rows } from './session.ts'
import { promptIds } from './text-writer.ts'

/**
 * Prompts as an encoder reads them, and what their answers begin with: the tokens of the languages that are named.
 *
 * @throws ConfigError for a tokenizer that has no languages, DataError for a language that is not among them
 */
export async function promptsInLanguages(
  tokenizer: Tokenizer,
  prompts: readonly string[],
  { source, target }: Languages = {},
  isTemplated = false,
): Promise<{ rows: Rows; beginnings: Rows | undefined }> {
  const tokenOf = (language: string): number => {
    const token = languageToken(language, tokenizer)
    if (token !== null) return token
    throw new ConfigError(`the tokenizer has no languages, and so no '${language}': leave it out`, {
      path: 'languages',
    })
  }
  const beginning = target === undefined ? undefined : [tokenOf(target)]
  if (source !== undefined) tokenOf(source)
  const rows =
    source === undefined
      ? await promptIds(tokenizer, prompts, { addSpecialTokens: !isTemplated })
      : await Promise.all(prompts.map(prompt => encodeSide(prompt, source, tokenizer, isTemplated)))
  return { rows, beginnings: beginning && prompts.map(() => beginning) }
}
