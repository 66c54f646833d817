// Beam search as text: a prompt in, and the likeliest texts out.

import type { Languages, Tokenizer } from '../../data/index.ts'
import { type BeamOptions, type BeamText, beamSearch } from './beam-search.ts'
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
  const written = (ids: readonly number[]): string => {
    const writer = new TextWriter(tokenizer, [])
    return [...ids.map(id => writer.push(id)), writer.flush()].join('')
  }
  return found.map(beam => ({ text: written(beam.ids), ...beam }))
}
