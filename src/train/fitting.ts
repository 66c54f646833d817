// What of a recipe, its corpus and its model does not go together, which each of them alone does not show.

import type { Corpus } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import { type AnyModelConfig, isDecoder, isEncoderDecoder } from '../models/index.ts'
import type { Recipe } from './recipe/schema.ts'

export interface Parts {
  corpus: Corpus
  recipe: Recipe
  config: AnyModelConfig
}

function refuse(path: string, problem: string): never {
  throw new ConfigError(problem, { path })
}

/** @throws ConfigError for an objective that is not for what the corpus holds, or not for the model, and for what only one stack has */
export function refuseMisfits(parts: Parts): void {
  if (isEncoderDecoder(parts.config)) refuseForPairs(parts)
  else refuseForStacks(parts)
}

/**
 * @param path what the corpus is called
 * @throws ConfigError for text on which the loss of a model says nothing
 */
export function refuseToScore(parts: Omit<Parts, 'recipe'>, path: string): void {
  refuseForEncoders(parts, path)
  if (parts.corpus.manifest.answers?.together === 2)
    refuse(path, 'holds pairs of answers, half of them rejected: name conversations, or text')
}

/** Of one stack of layers only a decoder writes answers. */
function refuseForEncoders({ corpus, config }: Omit<Parts, 'recipe'>, path: string): void {
  if (corpus.manifest.answers && !isDecoder(config) && !isEncoderDecoder(config))
    refuse(path, 'conversations are for decoders: an encoder learns to fill in text')
}

function refuseForPairs({ corpus, recipe, config }: Parts): void {
  const { answers } = corpus.manifest
  const { kind } = recipe.objective
  if (answers?.together === 2 || kind === 'dpo')
    refuse('objective', `pairs of answers (dpo) are for decoders, and ${config.model_type} is none`)
  if (answers && kind === 'span-corruption')
    refuse('objective', 'span-corruption is for plain text, and these are pairs: leave it out')
  if (!answers && kind === 'likelihood') {
    refuse(
      'objective',
      'an encoder-decoder learns pairs, as { source, target }; of plain text, as this is, it can learn span-corruption',
    )
  }
  if (recipe.recompute !== 'none')
    refuse('recompute', 'is for models of one stack of layers: set it to none, or lower data.batchSize')
  if (recipe.graph) refuse('graph', 'wants batches of one shape, which pairs have not: set it to false')
}

function refuseForStacks({ corpus, recipe, config }: Parts): void {
  refuseForEncoders({ corpus, config }, 'data.path')
  if (corpus.manifest.answers && recipe.graph)
    refuse('graph', 'wants batches of one shape, which conversations have not: set it to false')
  const hasPairs = corpus.manifest.answers?.together === 2
  const { kind } = recipe.objective
  if (kind === 'span-corruption')
    refuse('objective', `span-corruption is for encoder-decoders, and ${config.model_type} is none`)
  if (hasPairs === (kind === 'dpo')) return
  refuse(
    'objective',
    hasPairs
      ? 'likelihood would teach rejected answers too: these are pairs, for dpo'
      : 'dpo is for pairs, as { prompt, chosen, rejected }: these are none',
  )
}
