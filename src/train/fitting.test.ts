// Which text a model can be scored on.
import { describe, expect, test } from 'vitest'
import type { Corpus } from '../data/index.ts'
import type { AnyModelConfig } from '../models/index.ts'
import { refuseToScore } from './fitting.ts'

const corpusOf = (together: 1 | 2): Corpus =>
  ({ manifest: { answers: { examples: 2, tokens: 2, together } } }) as Corpus
const configOf = (type: string): AnyModelConfig => ({ model_type: type }) as AnyModelConfig

describe('a corpus is refused', () => {
  test.each<[string, Corpus, string]>([
    ['mixtral', corpusOf(2), '--data: holds pairs of answers, half of them rejected'],
    ['switch_transformers', corpusOf(2), '--data: holds pairs of answers'],
    ['switchyard_moe_encoder', corpusOf(1), '--data: conversations are for decoders'],
  ])('for %s', (type, corpus, problem) => {
    expect(() => refuseToScore({ corpus, config: configOf(type) }, '--data')).toThrow(problem)
  })

  test.each(['mixtral', 'switch_transformers'])('conversations are not, for %s', type => {
    refuseToScore({ corpus: corpusOf(1), config: configOf(type) }, '--data')
  })
})
