// What searches find, as text: a prompt in, and texts out.

import type { Languages, Tokenizer } from '../../data/index.ts'
import { type BeamOptions, type BeamText, beamSearch } from './beam-search.ts'
import { type ContrastiveOptions, type ContrastiveText, contrastiveSearch } from './contrastive-search.ts'
import { promptsInLanguages } from './languages.ts'
import type { TextModel } from './session.ts'
import { refuseOtherTokenizer, TextWriter } from './text-writer.ts'

/** What searchTexts() may be told. */
export interface SearchTextsOptions extends Omit<BeamOptions, 'beginnings'> {
  /** What language the prompt is in, and what it is to be answered in, for an encoder-decoder whose tokenizer has these. */
  languages?: Languages
}

/**
 * beamSearch() of texts: the best ones that a prompt is continued with, or answered, the best first.
 *
 * @throws ConfigError for options that cannot be, or a tokenizer that does not fit the model
 */
export async function searchTexts(
  model: TextModel,
  tokenizer: Tokenizer,
  prompt: string,
  { languages, ...options }: SearchTextsOptions = {},
): Promise<(BeamText & { text: string })[]> {
  refuseOtherTokenizer(model, tokenizer)
  const { rows, beginnings } = await promptsInLanguages(tokenizer, [prompt], languages)
  const found = await beamSearch(model, rows[0] ?? [], { ...options, beginnings })
  return found.map(beam => ({ text: written(tokenizer, beam.ids), ...beam }))
}

/**
 * contrastiveSearch() of a text.
 *
 * @throws ConfigError for options that cannot be, an encoder-decoder, or a tokenizer that does not fit the model
 */
export async function contrastiveText(
  model: TextModel,
  tokenizer: Tokenizer,
  prompt: string,
  options: ContrastiveOptions = {},
): Promise<ContrastiveText & { text: string }> {
  refuseOtherTokenizer(model, tokenizer)
  const { rows } = await promptsInLanguages(tokenizer, [prompt], undefined)
  const found = await contrastiveSearch(model, rows[0] ?? [], options)
  return { text: written(tokenizer, found.ids), ...found }
}

function written(tokenizer: Tokenizer, ids: readonly number[]): string {
  const writer = new TextWriter(tokenizer, [])
  return [...ids.map(id => writer.push(id)), writer.flush()].join('')
}
