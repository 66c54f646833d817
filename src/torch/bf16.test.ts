// The CPU's kernels on bf16 tensors, and under autocast, against the same in f32.
import { describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../tests/support/tensors.ts'
import {
  arange,
  autocast,
  fusedCausalAttention,
  fusedExperts,
  fusedLinear,
  fusedLinearCrossEntropy,
  fusedRmsNorm,
  randint,
  randn,
  type Tensor,
  tidy,
} from './index.ts'

/** Numbers that bf16 holds exactly, so that only what the kernel itself rounds differs. */
const exact = (...shape: number[]): Tensor =>
  randn(shape, { seed: shape.length + (shape[0] ?? 0) })
    .to('bf16')
    .to('f32')

const indices = randint(-1, 4, [40, 2], { seed: 1 })
const weights = randn([40, 2], { seed: 2 }).sigmoid()
const targets = randint(0, 50, [40], { seed: 3 })
const angles = arange(0, 20)
  .to('f32')
  .unsqueeze(1)
  .mul(randn([1, 16], { seed: 4 }))

interface Case {
  inputs: () => Tensor[]
  run: (...inputs: Tensor[]) => Tensor
  /** Times that a number on its way into a result, or into a gradient, is rounded. */
  roundings: number
}

const cases: Record<string, Case> = {
  linear: {
    inputs: () => [exact(2, 20, 30), exact(50, 30)],
    run: (x, weight) => fusedLinear(x as Tensor, weight as Tensor),
    roundings: 2, // the output, and its gradient or the input's
  },
  'RMS norm': {
    inputs: () => [exact(40, 24), exact(24)],
    run: (x, weight) => fusedRmsNorm(x as Tensor, weight as Tensor, 1e-5),
    roundings: 2,
  },
  attention: {
    inputs: () => [exact(2, 20, 64), exact(2, 20, 32), exact(2, 20, 32)],
    run: (q, k, v) =>
      fusedCausalAttention(q as Tensor, k as Tensor, v as Tensor, angles.cos(), angles.sin(), 16),
    roundings: 7, // turned queries and keys, weights; the output, of which backward reads the sum; gradients of it, of scores, theirs
  },
  'gated experts': {
    inputs: () => [exact(40, 24), exact(4, 60, 24), exact(4, 24, 30)],
    run: (x, up, down) =>
      fusedExperts(x as Tensor, indices, weights, up as Tensor, down as Tensor, 'silu', true),
    roundings: 6, // activations, twice the hidden states, their gradients, and at either end
  },
  'plain experts': {
    inputs: () => [exact(40, 24), exact(4, 30, 24), exact(4, 24, 30)],
    run: (x, up, down) =>
      fusedExperts(x as Tensor, indices, weights, up as Tensor, down as Tensor, 'gelu', false),
    roundings: 6,
  },
  'head and loss': {
    inputs: () => [exact(40, 24).mul(0.25), exact(50, 24)],
    run: (hidden, head) => fusedLinearCrossEntropy(hidden as Tensor, head as Tensor, targets),
    roundings: 2, // gradients of the logits, and what follows from them
  },
}

/** The outcome of a computation and the gradients of its inputs. */
function outcome(inputs: readonly Tensor[], run: (...inputs: Tensor[]) => Tensor): Tensor[] {
  return tidy(() => {
    const leaves = inputs.map(input => input.detach().clone().requiresGrad_())
    const output = run(...leaves)
    output
      .to('f32')
      .mul(output.ndim === 0 ? 1 : exact(...output.shape))
      .sum()
      .backward()
    return [output.detach(), ...leaves.map(leaf => (leaf.grad as Tensor).detach())]
  })
}

/** By norms: single numbers may be next to nothing after sums of large ones. */
function expectRounded(actual: readonly Tensor[], wide: readonly Tensor[], roundings: number): void {
  for (const [i, tensor] of actual.entries()) {
    const reference = wide[i] as Tensor
    const distance = tensor.to('f32').sub(reference).norm().item()
    expect(distance / reference.norm().item()).toBeLessThanOrEqual(roundings * 2 ** -9)
  }
}

describe.each(Object.entries(cases))('%s', (name, { inputs, run, roundings }) => {
  test('on bf16 differs from f32 by what is rounded', () => {
    expectNoLeak(() => {
      const wide = outcome(inputs(), run)
      const narrow = outcome(
        inputs().map(input => input.to('bf16')),
        run,
      )
      const types = narrow.map(({ dtype }) => dtype)
      expect(new Set(types)).toEqual(new Set(name === 'head and loss' ? ['f32', 'bf16'] : ['bf16']))
      expectRounded(narrow, wide, roundings)
    })
  })
})

/** An RMS norm computes in what it is given. */
const narrowing = Object.entries(cases).filter(([name]) => name !== 'RMS norm')

describe.each(narrowing)('%s under autocast', (name, { inputs, run, roundings }) => {
  test('takes f32, and gives it f32 gradients', () => {
    expectNoLeak(() => {
      const wide = outcome(inputs(), run)
      const mixed = outcome(inputs(), (...leaves) => autocast('cpu', 'bf16', () => run(...leaves)))
      expect(mixed.slice(1).map(({ dtype }) => dtype)).toEqual(mixed.slice(1).map(() => 'f32'))
      expect(mixed[0]?.dtype).toBe(name === 'head and loss' ? 'f32' : 'bf16')
      expectRounded(mixed, wide, roundings)
    })
  })
})
