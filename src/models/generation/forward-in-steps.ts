// Texts that are known are read as if they were being written: what depends on how tokens come together shows.
// Shapes: B texts, T tokens of each, V vocabulary.

import { ContiguousCache } from '../../nn/index.ts'
import { stack } from '../../torch/index.ts'
import type { CausalLM, ForwardOutput } from '../stack/language-model.ts'
import type { Tokens } from '../stack/tokens.ts'
import { DecodingStep } from './decoding-step.ts'

/**
 * The logits [B T, V] of CausalLM.forward(), token after token of all texts in step. What layers decided is not kept. Within
 * inferenceMode().
 *
 * @param tokens of texts of equal length, from their first ones on
 */
export function forwardInSteps(model: CausalLM, { ids, starts }: Tokens): ForwardOutput {
  const [texts, length] = [starts.length - 1, starts[1] ?? 0]
  const numbers = [...ids.to('i32').toTypedArray<'i32'>()]
  const cache = new ContiguousCache(model, { sequences: texts, capacity: length })
  try {
    using step = new DecodingStep(model, cache)
    const tokensAt = (t: number) => Array.from({ length: texts }, (_, b) => numbers[b * length + t] as number)
    const logits = Array.from({ length }, (_, t) => step.run(tokensAt(t)).logits)
    return { logits: stack(logits, 1).flatten(0, 1), routings: [] }
  } finally {
    cache.dispose()
  }
}
