// Models as most tests ask them: rows of one length in, a score for each place out.

import { type ForwardOptions, type LanguageModel, tokensOf } from '../../src/models/index.ts'
import type { Tensor } from '../../src/torch/index.ts'

/** ids [B, T] -> logits [B, T, V] */
export function logitsOf(
  model: LanguageModel,
  ids: Tensor,
  { tasks = null, ...options }: ForwardOptions & { tasks?: Tensor | null } = {},
): Tensor {
  return model.forward(tokensOf(ids, { tasks }), options).logits.view([...ids.shape, -1])
}
