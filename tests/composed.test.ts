// What is computed on CUDA is composed of leaves (native/ops/common/leaf.h). Here the composition runs on the CPU, with the
// CPU's leaves: against the CPU's own kernels in f64, and in bf16 against the same in f64.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { plainFrequencies, rotation } from '../src/nn/index.ts'
import {
  arange,
  callOperator,
  fusedCausalAttention,
  fusedExperts,
  fusedLinearCrossEntropy,
  randint,
  randn,
  runtimeInfo,
  type Tensor,
  tensor,
  tidy,
} from '../src/torch/index.ts'
import { expectClose, expectNoLeak } from './support/tensors.ts'

const call = (name: string, ...args: unknown[]): Tensor =>
  callOperator(`switchyard::${name}`, ...args) as Tensor

/** Where the composition runs; references are computed on the CPU. */
const device = process.env.SWITCHYARD_TEST_DEVICE === 'cuda' ? 'cuda' : 'cpu'

type Compute = (inputs: readonly Tensor[]) => Tensor

/** The output, and the gradients of `inputs` under random weights of it. */
function outcome(inputs: readonly Tensor[], compute: Compute): Tensor[] {
  return tidy(() => {
    const leaves = inputs.map(input => input.detach().clone().requiresGrad_())
    const output = compute(leaves)
    const weights = randn(output.shape, { dtype: 'f64', seed: 9 }).to(output.dtype).to(output.device)
    output.mul(weights).sum().backward()
    return [output, ...leaves.map(leaf => leaf.grad ?? leaf)].map(t => t.detach().to('cpu').clone())
  })
}

/** In f64 on a CPU, where both sides differ by the order of sums; on CUDA in f32, against f64 of the same numbers. */
function expectSame(inputs: readonly Tensor[], composed: Compute, reference: Compute): void {
  if (device === 'cuda') {
    expectSameIn('f32', inputs, composed, reference, 10)
    return
  }
  expectNoLeak(() => {
    const wanted = outcome(inputs, reference)
    for (const [i, tensor] of outcome(inputs, composed).entries()) expectClose(tensor, wanted[i]!, 1e-11)
  })
}

/**
 * Each stage rounds by a unit of a number at most, and the norm of a stage's error is that share of its norm at most; sums of
 * terms of both signs leave the ratio of norms about as it is.
 */
function expectSameIn(
  dtype: 'f32' | 'bf16',
  inputs: readonly Tensor[],
  composed: Compute,
  reference: Compute,
  stages: number,
): void {
  // Sums are in f32 either way: of up to 100 terms here.
  const tolerance = stages * (dtype === 'bf16' ? 2 ** -8 : 2 ** -24) + 100 * 2 ** -24
  expectNoLeak(() => {
    const narrow = inputs.map(input => input.to(dtype))
    const wanted = outcome(
      narrow.map(input => input.double()),
      reference,
    )
    const got = outcome(
      narrow.map(input => input.to(device)),
      composed,
    )
    for (const [i, tensor] of got.entries()) {
      const norm = wanted[i]!.norm().item() || 1
      expect(tensor.double().sub(wanted[i]!).norm().item() / norm).toBeLessThanOrEqual(tolerance)
    }
  })
}

describe('experts by grouped products', () => {
  interface Case {
    tokens: number
    model: number
    width: number
    numExperts: number
    topK: number
    activation: string
    gated: boolean
  }
  const usual: Case = {
    tokens: 50,
    model: 16,
    width: 24,
    numExperts: 6,
    topK: 2,
    activation: 'silu',
    gated: true,
  }

  function inputsOf({ tokens, model, width, numExperts, topK, gated }: Case): Tensor[] {
    const f64 = { dtype: 'f64' } as const
    return [
      randn([tokens, model], { ...f64, seed: 1 }),
      randn([tokens, topK], { ...f64, seed: 2 }).abs(),
      randn([numExperts, gated ? 2 * width : width, model], { ...f64, seed: 3 }).mul(model ** -0.5),
      randn([numExperts, model, width], { ...f64, seed: 4 }).mul(width ** -0.5),
    ]
  }

  const grouped =
    (indices: Tensor, { activation, gated }: Case) =>
    ([x, weights, up, down]: readonly Tensor[]): Tensor =>
      call('experts_grouped', x, indices.to(device), weights, up, down, activation, gated)

  const byKernel =
    (indices: Tensor, { activation, gated }: Case) =>
    ([x, weights, up, down]: readonly Tensor[]): Tensor =>
      fusedExperts(x!, indices, weights!, up!, down!, activation, gated)

  const anyIndices = ({ tokens, topK, numExperts }: Case): Tensor =>
    randint(-1, numExperts, [tokens, topK], { seed: 5 })

  function expectBoth(shape: Case, indices = anyIndices(shape)): void {
    expectSame(inputsOf(shape), grouped(indices, shape), byKernel(indices, shape))
  }

  test.each(['silu', 'gelu', 'gelu-tanh', 'relu'])('with %s, gated and plain', activation => {
    expectBoth({ ...usual, activation })
    expectBoth({ ...usual, activation, gated: false })
  })

  test('when all tokens choose one expert, when nobody chooses, and without tokens', () => {
    const one = { ...usual, topK: 1 }
    expectBoth(one, randint(3, 4, [one.tokens, 1]))
    expectBoth(one, randint(-1, 0, [one.tokens, 1]))
    expectBoth({ ...usual, tokens: 0 })
  })

  test('property: for any shape', () => {
    const size = fc.integer({ min: 1, max: 20 })
    const shape = fc.record({
      tokens: size,
      model: size,
      width: size,
      numExperts: size,
      topK: fc.integer({ min: 1, max: 4 }),
      gated: fc.boolean(),
    })
    fc.assert(
      fc.property(shape, sizes => expectBoth({ ...sizes, activation: 'silu' })),
      { numRuns: 40 },
    )
  })

  // Rounded: rows, hidden, activation, outputs, their sum; and going back as many again.
  test.each([usual, { ...usual, gated: false }, { ...usual, width: 12, model: 20 }])('in bf16: %j', shape => {
    const indices = anyIndices(shape)
    const compute = grouped(indices, shape)
    expectSameIn('bf16', inputsOf(shape), compute, byKernel(indices, shape), 10)
  })

  test('weights of another type are refused in a line', () => {
    const [x, weights, up, down] = inputsOf(usual)
    expect(() =>
      call('experts', x, anyIndices(usual), weights, up!.float(), down!.float(), 'silu', true),
    ).toThrow('weights of experts are Float on cpu, the input is Double on cpu')
  })
})

describe('head and loss by chunks', () => {
  const shape = { tokens: 23, model: 8, vocabulary: 40 }
  const inputs = [
    randn([shape.tokens, shape.model], { dtype: 'f64', seed: 1 }),
    randn([shape.vocabulary, shape.model], { dtype: 'f64', seed: 2 }),
  ]
  const targets = randint(0, shape.vocabulary, [shape.tokens], { seed: 3 })
  targets.narrow(0, 4, 3).fill_(-100)

  test.each([1, 7, 23, 100])('of %i rows', rows => {
    expectSame(
      inputs,
      ([hidden, weight]) =>
        call('linear_cross_entropy_chunked', hidden, weight, targets.to(device), -100, rows).mul(3),
      ([hidden, weight]) => fusedLinearCrossEntropy(hidden!, weight!, targets).mul(3),
    )
  })

  test('in bf16 their gradient is not scaled by a rounded number', () => {
    tidy(() => {
      const [hidden, weight] = [3, 40].map((rows, seed) =>
        randn([rows, 256], { dtype: 'f64', seed }).to('bf16').to(device),
      ) as [Tensor, Tensor]
      const gradient = (scale: number): Tensor => {
        const leaf = hidden.detach().requiresGrad_()
        const three = tensor([1n, 2n, 3n]).to(device)
        call('linear_cross_entropy_chunked', leaf, weight, three, -100, 3).mul(scale).backward()
        return (leaf.grad as Tensor).double()
      }
      // Scaled by 1/3 each is rounded by 2^-8 of itself at most, to either side; bf16's third is 2^-9 of itself too large.
      const excess = gradient(1).mul(3).div(gradient(3)).sub(1)
      expect(Math.abs(excess.mean().item())).toBeLessThan(2 ** -11)
    })
  })

  test('in bf16', () => {
    // Rounded: logits, their gradient, and the product with it.
    expectSameIn(
      'bf16',
      inputs,
      ([hidden, weight]) =>
        call('linear_cross_entropy_chunked', hidden, weight, targets.to(device), -100, 10),
      ([hidden, weight]) => fusedLinearCrossEntropy(hidden!, weight!, targets),
      6,
    )
  })
})

const [major, minor] = runtimeInfo().version.split('.').map(Number) as [number, number]
describe.skipIf(major < 2 || (major === 2 && minor < 5))("attention by libtorch's own", () => {
  test.each([
    [4, null],
    [2, null],
    [1, 5],
    [2, 99],
  ])('%i key heads, window %j', (groups, window) => {
    const inputs = [4, groups, groups].map((heads, seed) => randn([2, 19, heads * 8], { dtype: 'f64', seed }))
    const { cos, sin } = rotation(arange(0, 19), plainFrequencies(8, 100))
    expectSame(
      inputs,
      ([q, k, v]) => call('attention_shared', q, k, v, cos.to(device), sin.to(device), 8, window),
      ([q, k, v]) => fusedCausalAttention(q!, k!, v!, cos, sin, 8, window),
    )
  })
})
