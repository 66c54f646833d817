// The kernel of head and loss against its reference, and whole models with all kernels against none.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectSameAsReference } from '../../../tests/support/kernels.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import {
  crossEntropyLoss,
  fusedLinearCrossEntropy,
  gradcheck,
  kernelFor,
  kernelNames,
  manualSeed,
  randint,
  randn,
  type Tensor,
  tensor,
  tidy,
  withKernels,
} from '../../torch/index.ts'
import { type CausalLM, createModel, type MixtralConfig, parseModelConfig, tokensOf } from '../index.ts'

const f64 = { dtype: 'f64' } as const

describe('linearCrossEntropy', () => {
  function expectSame(tokens: number, model: number, vocabulary: number, ignored: number): void {
    const hidden = randn([tokens, model], { ...f64, seed: 1, requiresGrad: true })
    const weight = randn([vocabulary, model], { ...f64, seed: 2, requiresGrad: true })
    const targets = randint(0, vocabulary, [tokens], { seed: 3 })
    targets.narrow(0, 0, ignored).fill_(-100)
    const compute = (): Tensor[] => [
      kernelFor('linearCrossEntropy', hidden)?.(hidden, weight, targets) ??
        crossEntropyLoss(hidden.matmul(weight.t()), targets),
    ]
    expectSameAsReference('linearCrossEntropy', [hidden, weight], compute, 1e-11)
  }

  test.each([
    [7, 4, 11, 0],
    [1, 1, 1, 0],
    [9, 3, 20, 4],
    [2100, 5, 30, 7], // several chunks
  ])('%i tokens, width %i, vocabulary %i, %i ignored', expectSame)

  test('property: for any shape', () => {
    const size = fc.integer({ min: 1, max: 30 })
    fc.assert(
      fc.property(size, size, size, fc.nat(5), (tokens, model, vocabulary, ignored) =>
        expectSame(tokens, model, vocabulary, Math.min(ignored, tokens - 1)),
      ),
      { numRuns: 50 },
    )
  })

  test('gradients are the derivatives, and scale with the loss', () => {
    const [hidden, weight] = [
      randn([5, 3], { ...f64, requiresGrad: true }),
      randn([7, 3], { ...f64, requiresGrad: true }),
    ]
    gradcheck(
      () => fusedLinearCrossEntropy(hidden, weight, tensor([0n, 6n, -100n, 3n, 3n])).mul(2.5),
      [hidden, weight],
    )
  })

  test('without a target that counts the loss is NaN, as libtorch has it', () => {
    expect(fusedLinearCrossEntropy(randn([2, 3]), randn([4, 3]), tensor([-100n, -100n])).item()).toBeNaN()
  })

  test('huge logits stay finite', () => {
    expect(
      fusedLinearCrossEntropy(randn([4, 3]).mul(1e3), randn([5, 3]).mul(1e3), tensor([0n, 1n, 2n, 3n]))
        .isfinite()
        .item(),
    ).toBe(1)
  })

  test('a target outside of the vocabulary is refused by value', () => {
    expect(() => fusedLinearCrossEntropy(randn([1, 3]), randn([4, 3]), tensor([4n]))).toThrow(
      'target 4 is outside of the vocabulary of 4',
    )
  })
})

describe('a model with all kernels', () => {
  const config = parseModelConfig(
    {
      model_type: 'mixtral',
      vocab_size: 61,
      hidden_size: 16,
      intermediate_size: 20,
      num_hidden_layers: 3,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      num_local_experts: 4,
      num_experts_per_tok: 2,
      max_position_embeddings: 128,
      sliding_window: 40,
    },
    'test',
  ) as MixtralConfig
  const ids = randint(0, 61, [3, 81], { seed: 1 })
  const [inputs, targets] = [ids.narrow(1, 0, 80), ids.narrow(1, 1, 80)]

  function gradients(model: CausalLM): Tensor[] {
    return tidy(() => {
      model.zeroGrad()
      const { loss } = model.loss(tokensOf(inputs), targets.reshape([-1]))
      loss.backward()
      return [loss, ...model.parameters().map(parameter => parameter.grad?.clone() ?? parameter)].map(t =>
        t.detach(),
      )
    })
  }

  test('has the loss and gradients of one without, in f64', () => {
    manualSeed(1)
    const model = createModel(config).to('f64')
    const fast = withKernels(kernelNames, () => gradients(model))
    const slow = withKernels([], () => gradients(model))
    for (const [i, tensor] of fast.entries()) expectClose(tensor, slow[i] ?? tensor.neg(), 1e-11)
  })

  test.each(kernelNames)('each kernel alone too: %s', name => {
    manualSeed(1)
    const model = createModel(config).to('f64')
    const fast = withKernels([name], () => gradients(model))
    const slow = withKernels([], () => gradients(model))
    for (const [i, tensor] of fast.entries()) expectClose(tensor, slow[i] ?? tensor.neg(), 1e-11)
  })
})
