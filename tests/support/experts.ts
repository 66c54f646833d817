// Holding a structure of experts to the loop over `expert(index, x)`: any experts, any routing.
import fc from 'fast-check'
import { type Experts, referenceMoe, type TokenRouting } from '../../src/moe/index.ts'
import type { Module } from '../../src/nn/index.ts'
import { gradcheck, randint, randn, type Tensor, tidy, zeros } from '../../src/torch/index.ts'
import { expectClose, expectNoLeak } from './tensors.ts'

/** The sizes of a mixture; `indices` says who goes where, default random with empty slots among them. */
export interface MixtureCase {
  tokens: number
  hidden: number
  numExperts: number
  topK: number
  indices?: () => Tensor
}

const f64 = { dtype: 'f64' } as const

/** A routing that is nothing but choices and weights. */
export function routingOf(indices: Tensor, weights: Tensor, numExperts: number): TokenRouting {
  const scores = zeros([indices.size(0), numExperts], f64)
  return { kind: 'token', indices, weights, logits: scores, probs: scores, mask: null }
}

/** Cases at the edges: no token, one token, one expert, one expert for all, experts without tokens. */
export const edgeCases: readonly [name: string, MixtureCase][] = [
  ['several tokens', { tokens: 24, hidden: 8, numExperts: 4, topK: 2 }],
  ['no token', { tokens: 0, hidden: 8, numExperts: 3, topK: 2 }],
  ['one token', { tokens: 1, hidden: 8, numExperts: 3, topK: 2 }],
  ['one expert', { tokens: 5, hidden: 8, numExperts: 1, topK: 1 }],
  ['more experts than slots', { tokens: 2, hidden: 8, numExperts: 9, topK: 1 }],
  [
    'one expert that gets every token',
    { tokens: 7, hidden: 8, numExperts: 3, topK: 1, indices: () => zeros([7, 1], { dtype: 'i64' }).add(1) },
  ],
  [
    'nothing but empty slots',
    { tokens: 4, hidden: 8, numExperts: 2, topK: 2, indices: () => zeros([4, 2], { dtype: 'i64' }).sub(1) },
  ],
]

/** Cases of any small sizes. */
export const anyCase: fc.Arbitrary<MixtureCase> = fc.record({
  tokens: fc.integer({ min: 0, max: 12 }),
  hidden: fc.integer({ min: 1, max: 6 }),
  numExperts: fc.integer({ min: 1, max: 6 }),
  topK: fc.integer({ min: 1, max: 3 }),
})

/**
 * Compares the output and every gradient with referenceMoe, in f64. Sums of n terms of order one differ by about
 * n x 1e-16 with the order of summation; with a few hundred terms 1e-9 leaves four digits.
 */
export function expectSameAsLoop(experts: Module & Experts, sizes: MixtureCase, tolerance = 1e-9): void {
  expectNoLeak(() => {
    experts.to('f64')
    const { x, routing } = inputs(sizes)
    const leaves = [x, routing.weights, ...experts.parameters()]
    const fast = outcome(leaves, () => mixture(experts, x, routing))
    const slow = outcome(leaves, () => referenceMoe(x, routing, experts))
    for (const [i, tensor] of fast.entries()) expectClose(tensor, slow[i] ?? tensor.neg(), tolerance)
    experts.zeroGrad()
  })
}

/** Checks every gradient, those of the inputs and of the parameters, against difference quotients. */
export function expectGradients(experts: Module & Experts, sizes: MixtureCase): void {
  expectNoLeak(() => {
    experts.to('f64')
    const { x, routing } = inputs(sizes)
    gradcheck(
      () => mixture(experts, x, routing).square().sum(),
      [x, routing.weights, ...experts.parameters()],
    )
    experts.zeroGrad()
  })
}

/** What MoeLayer computes once the router has chosen. */
export function mixture(experts: Experts, x: Tensor, routing: TokenRouting): Tensor {
  return experts.mix(x, routing)
}

function inputs({ tokens, hidden, numExperts, topK, indices }: MixtureCase): {
  x: Tensor
  routing: TokenRouting
} {
  const x = randn([tokens, hidden], { ...f64, seed: 1, requiresGrad: true })
  const weights = randn([tokens, topK], { ...f64, seed: 2, requiresGrad: true })
  const chosen = indices?.() ?? randint(-1, numExperts, [tokens, topK], { seed: 3 })
  return { x, routing: routingOf(chosen, weights, numExperts) }
}

/** The output, and the gradients of `leaves` under fixed random weights of it. */
function outcome(leaves: readonly Tensor[], compute: () => Tensor): Tensor[] {
  return tidy(() => {
    for (const leaf of leaves) leaf.grad = null
    const y = compute()
    y.mul(randn(y.shape, { ...f64, seed: 4 }))
      .sum()
      .backward()
    return [y, ...leaves.map(leaf => leaf.grad?.clone() ?? leaf.mul(0))].map(tensor => tensor.detach())
  })
}
