// What layers chose, for the host.
// Shapes: N tokens, K slots of each.

import type { StepChoices } from '../../models/index.ts'
import type { RoutedTokens } from './request.ts'

/** The experts of each of N tokens in all layers; slots that hold none are left out. */
export function routedTokens(ids: readonly number[], choices: readonly StepChoices[]): RoutedTokens {
  const layers = choices.map(({ layer, indices, weights }) => ({
    layer,
    slots: indices.size(-1),
    experts: indices.to('i32').contiguous().toTypedArray<'i32'>(), // [N * K]
    weights: weights.float().contiguous().toTypedArray<'f32'>(),
  }))
  const slotsOf = (values: ArrayLike<number>, token: number, slots: number): number[] =>
    Array.from({ length: slots }, (_, k) => values[token * slots + k] as number)
  const tokens = ids.map((id, i) => {
    const taken = layers.map(({ slots, experts, weights }) => {
      const numbers = slotsOf(experts, i, slots)
      const isFilled = (_: number, k: number): boolean => (numbers[k] as number) >= 0
      return { experts: numbers.filter(isFilled), weights: slotsOf(weights, i, slots).filter(isFilled) }
    })
    return { id, experts: taken.map(each => each.experts), weights: taken.map(each => each.weights) }
  })
  return { layers: layers.map(({ layer }) => layer), tokens }
}
