// What training drops at random, wherever a model has a place for it (Srivastava et al., JMLR 15, 2014).

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { StackedExperts } from '../../moe/index.ts'
import { MemoryAttention, type Module } from '../../nn/index.ts'
import { Decoder, DecoderLayer } from './decoder.ts'
import { Layer, Stack } from './encoder-decoder.ts'

const rate = z.number().min(0).lt(1)

/** `dropout` in recipes: shares of numbers that are dropped in training, while the others are scaled up. */
export const dropoutSchema = z.strictObject({
  /** Of token vectors, and of what attention and feed-forwards add to them. */
  hidden: rate.default(0),
  /** Of the probabilities of attention, in encoder-decoders: kernels of decoders know none. */
  attention: rate.default(0),
  /** Of the hidden activation of experts, "expert dropout" (arXiv:2101.03961 section 2.4). Default: as they were made. */
  experts: rate.optional(),
})

export type DropoutRates = z.infer<typeof dropoutSchema>

/**
 * From now on training drops such shares; evaluation drops nothing.
 *
 * @throws ConfigError for a rate of which the model has no place
 */
export function setDropout(model: Module, rates: DropoutRates): void {
  const { hidden, attention, experts } = rates
  const modules = [...model.namedModules()].map(([, module]) => module)
  const places = {
    hidden: modules.filter(isHidden),
    attention: modules.filter(module => module instanceof MemoryAttention),
    experts: modules.filter(module => module instanceof StackedExperts),
  }
  for (const [name, rate] of Object.entries(rates))
    if ((rate ?? 0) > 0 && places[name as keyof DropoutRates].length === 0)
      throw new ConfigError('this model has no place for it', { path: `dropout.${name}` })
  for (const { dropout } of places.hidden) dropout.rate = hidden
  for (const { dropout } of places.attention) dropout.rate = attention
  for (const module of places.experts) module.dropout = experts ?? module.dropout
}

const isHidden = (module: Module): module is Decoder | DecoderLayer | Layer | Stack =>
  [Decoder, DecoderLayer, Layer, Stack].some(kind => module instanceof kind)
