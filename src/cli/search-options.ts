// Options of commands that search for a text instead of drawing it.

import { type Command, Option } from 'commander'
import type { Tokenizer } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import type { BeamText, ContrastiveText, SearchTextsOptions, TextModel } from '../models/index.ts'
import { drawing } from './sampling-options.ts'
import { numberOf, wholeNumberOf } from './values.ts'

export interface SearchFlags {
  beams?: number
  lengthPenalty?: number
  contrastive?: number
  candidates?: number
}

/** A text that was found. */
export type Found = { text: string } & Pick<BeamText | ContrastiveText, 'ids' | 'reason'>

/** How a text is searched for. */
export interface Search {
  /** What it goes on with, as `4 beams`. */
  by: string
  /** Texts that are gone on with at a time. */
  texts: number
  options: object
  /** Whether it is left with several, the best first. */
  hasSeveral: boolean
  find(
    model: TextModel,
    tokenizer: Tokenizer,
    prompt: string,
    common: Omit<SearchTextsOptions, 'beams' | 'nBest' | 'lengthPenalty'>,
  ): Promise<readonly Found[]>
}

/** What a search has no use for. */
const others = [...drawing, 'samples', 'logprobs', 'stop', 'jsonSchema']

/** Adds --beams with --length-penalty, and --contrastive with --candidates. */
export const withSearchOptions = (command: Command): Command =>
  command
    .addOption(
      new Option('--beams <n>', 'search for the likeliest text with so many; --json has all')
        .argParser(wholeNumberOf('--beams', 1))
        .conflicts(others),
    )
    .option(
      '--length-penalty <a>',
      'with --beams, log p / length^a counts: above 0 for longer texts (default: 1)',
      numberOf('--length-penalty'),
    )
    .addOption(
      new Option(
        '--contrastive <a>',
        'take likely tokens that resemble nothing before: a weighs that, as 0.6',
      )
        .argParser(numberOf('--contrastive'))
        .conflicts([...others, 'beams', 'kv', 'task']),
    )
    .option(
      '--candidates <n>',
      'with --contrastive, so many likely tokens are compared (default: 4)',
      wholeNumberOf('--candidates', 1),
    )

/** Null where texts are drawn. @throws ConfigError for an option of a search that is not asked for */
export function searchOf({ beams, lengthPenalty, contrastive, candidates }: SearchFlags): Search | null {
  if (lengthPenalty !== undefined && beams === undefined)
    throw new ConfigError('is for a search: give --beams too', { path: '--length-penalty' })
  if (candidates !== undefined && contrastive === undefined)
    throw new ConfigError('is for a search: give --contrastive too', { path: '--candidates' })
  if (beams !== undefined) return byBeams(beams, lengthPenalty)
  return contrastive === undefined ? null : byContrast(contrastive, candidates)
}

function byBeams(beams: number, lengthPenalty: number | undefined): Search {
  const options = { beams, ...(lengthPenalty !== undefined && { lengthPenalty }) }
  return {
    ...{ by: `${beams} beams`, texts: beams, options, hasSeveral: true },
    async find(model, tokenizer, prompt, common) {
      const { searchTexts } = await import('../models/index.ts')
      return searchTexts(model, tokenizer, prompt, { ...common, ...options, nBest: beams })
    },
  }
}

function byContrast(penalty: number, candidates = 4): Search {
  const options = { penalty, candidates }
  return {
    ...{ by: `${candidates} candidates`, texts: candidates, options, hasSeveral: false },
    async find(model, tokenizer, prompt, { languages, maxNewTokens }) {
      const { contrastiveText } = await import('../models/index.ts')
      if (Object.keys(languages ?? {}).length > 0)
        throw new ConfigError('is for decoders, which know no languages', { path: '--contrastive' })
      const length = maxNewTokens === undefined ? {} : { maxNewTokens }
      return [await contrastiveText(model, tokenizer, prompt, { ...options, ...length })]
    },
  }
}
