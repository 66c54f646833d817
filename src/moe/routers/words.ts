// Mixture of word experts: a lexicon decides, in which different tokens are one word (arXiv:2311.10768).
// Shapes: V tokens of the vocabulary, W words of the lexicon, E experts.

import { z } from 'zod'
import { invariant } from '../../errors.ts'
import { noGrad, tensor, tidy } from '../../torch/index.ts'
import { balancedTable, HashRouter, type HashRouterOptions } from './hash.ts'
import type { RouterRow } from './row.ts'

/**
 * `expert = h(word(id))`, weight 1: all tokens of a word share its expert, and words are spread over experts by how often
 * they occur. Until assign() each token has an expert of chance. The paper reads words of several tokens whole, which a
 * decoder that is still writing one cannot; here a word is what one token says.
 */
export class WordRouter extends HashRouter {
  constructor({ numExperts, vocabSize }: Pick<HashRouterOptions, 'numExperts' | 'vocabSize'>) {
    super({ numExperts, vocabSize })
  }

  /**
   * Gives each word an expert, the most frequent words first, each to the lightest expert so far.
   *
   * @param words the word of each token, numbered from 0: V numbers
   * @param frequencies how often each token occurs: V numbers
   */
  assign(words: readonly number[], frequencies: readonly number[]): void {
    const [, vocabSize] = this.table.shape
    invariant(words.length === vocabSize, `${words.length} words for ${vocabSize} tokens`)
    const ofWord = new Array<number>(1 + words.reduce((a, b) => Math.max(a, b), 0)).fill(0)
    for (const [id, word] of words.entries()) ofWord[word] = (ofWord[word] ?? 0) + (frequencies[id] ?? 0)
    const experts = balancedTable(ofWord, this.numExperts)
    const table = words.map(word => BigInt(experts[word] ?? 0))
    noGrad(() => tidy(() => void this.table.copy_(tensor([table]).to(this.table.device))))
  }
}

const schema = z.strictObject({ kind: z.literal('words') })

/** `words` in recipes. */
export const words: RouterRow<typeof schema> = {
  schema,
  router: WordRouter,
  make: (_, sizes) => new WordRouter(sizes),
}
