// ReLU leaves most neurons of an expert at zero, and what these would be multiplied by need not be read: for a token alone only
// the rows of active neurons are.
// Shapes: E experts, K choices, D model, F expert width, A active neurons.

import { ConfigError } from '../../errors.ts'
import type { Module } from '../../nn/index.ts'
import { type Tensor, tidy, zeros } from '../../torch/index.ts'
import { PlainExperts } from './plain.ts'
import { type ExpertWeights, matricesOf, parameterWeights } from './weights.ts'

/**
 * From now on the plain experts of a model with ReLU skip neurons that are zero where a token comes alone, as in decoding: of
 * several at once most neurons are active for one, and products of matrices are quicker. For inference alone, until what this gives is
 * disposed of. It takes a second copy of their last matrices, whose rows are neurons'. Sums have another order, so that results
 * differ in their last bits.
 *
 * @throws ConfigError where there are none, or their weights are encoded
 */
export function skipInactive(model: Module): Disposable {
  const experts = [...model.namedModules()].flatMap(([, module]) =>
    module instanceof PlainExperts && module.activation === 'relu' && module.stacks.down.encoding === null
      ? [module]
      : [],
  )
  if (experts.length === 0)
    throw new ConfigError('has no experts with ReLU and weights as numbers: nothing can be skipped', {
      path: 'model',
    })
  const turned = experts.map(({ stacks }) => stacks.down.detach().transpose(1, 2).contiguous().persist()) // [E, F, D]
  for (const [i, each] of experts.entries()) each.serveFrom(activeRows(each, turned[i] as Tensor))
  return {
    [Symbol.dispose]() {
      for (const each of experts) each.serveFrom(parameterWeights(each.stacks))
      for (const each of turned) each.dispose()
    },
  }
}

function activeRows({ stacks }: PlainExperts, downEFD: Tensor): ExpertWeights {
  const all = parameterWeights(stacks)
  return {
    ...all,
    mix(xTD, routing, form) {
      if (xTD.size(0) !== 1) return all.mix(xTD, routing, form)
      const weights = routing.weights.squeeze(0) // [K]
      const y = zeros(xTD.shape, { dtype: xTD.dtype })
      for (const [slot, expert] of routing.indices.to('i32').toTypedArray<'i32'>().entries()) {
        if (expert < 0) continue
        tidy(() => {
          const matrices = matricesOf(stacks, expert)
          const hidden = form.hidden(xTD, matrices).squeeze(0) // [F]
          const output = projected(hidden, downEFD.select(0, expert), matrices.downBias) // [1, D]
          y.add_(output.mul(weights.select(0, slot)))
        })
      }
      return y
    },
  }
}

/** `[1, D]` */
function projected(hidden: Tensor, downFD: Tensor, bias: Tensor | null): Tensor {
  const active = hidden.nonzero().squeeze(-1) // [A]
  const output = hidden.take(active).unsqueeze(0).matmul(downFD.indexSelect(0, active))
  return bias === null ? output : output.add(bias)
}
