import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  anyCase,
  edgeCases,
  expectGradients,
  expectSameAsLoop,
  mixture,
  routingOf,
} from '../../../tests/support/experts.ts'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import { GatedMlp, Linear, Module, Parameter } from '../../nn/index.ts'
import { manualSeed, ones, randn, type Tensor, tensor } from '../../torch/index.ts'
import { type ExpertModule, ModuleExperts, MoeLayer, PlainMlp, TopKRouter } from '../index.ts'

/** `y = s x`, an expert of one parameter. */
class Scaled extends Module {
  readonly scale: Parameter

  constructor(scale: number) {
    super()
    this.scale = new Parameter(tensor([scale]))
  }

  forward(x: Tensor): Tensor {
    return x.mul(this.scale)
  }
}

/** `y = x + mlp(x)`: deeper than the others. */
class Residual extends Module {
  readonly mlp: GatedMlp

  constructor(hidden: number) {
    super()
    this.mlp = new GatedMlp(hidden, 5)
  }

  forward(x: Tensor): Tensor {
    return x.add(this.mlp.forward(x))
  }
}

/** Modules of four kinds in turn. */
function makeExperts(numExperts: number, hidden: number): ModuleExperts {
  manualSeed(1)
  const kinds: ((hidden: number) => ExpertModule)[] = [
    size => new GatedMlp(size, 3),
    () => new Scaled(2),
    size => new Linear(size, size),
    size => new Residual(size),
  ]
  return new ModuleExperts(
    Array.from({ length: numExperts }, (_, e) => kinds[e % 4]?.(hidden) ?? new Scaled(1)),
  )
}

test.each(edgeCases)('modules of several kinds equal the loop over experts with %s', (_, sizes) => {
  using experts = makeExperts(sizes.numExperts, sizes.hidden)
  expectSameAsLoop(experts, sizes)
})

test('property: for any sizes', () => {
  fc.assert(
    fc.property(anyCase, sizes => {
      using experts = makeExperts(sizes.numExperts, sizes.hidden)
      expectSameAsLoop(experts, sizes)
    }),
    { numRuns: 40 },
  )
})

test('gradients are the derivatives', () => {
  using experts = makeExperts(4, 3)
  expectGradients(experts, { tokens: 5, hidden: 3, numExperts: 4, topK: 2 })
})

test('parameters are named by the place of their module', () => {
  using experts = makeExperts(4, 3)
  expect([...experts.namedParameters().keys()]).toEqual([
    '0.gate_proj.weight',
    '0.up_proj.weight',
    '0.down_proj.weight',
    '1.scale',
    '2.weight',
    '2.bias',
    '3.mlp.gate_proj.weight',
    '3.mlp.up_proj.weight',
    '3.mlp.down_proj.weight',
  ])
})

test('a layer of them has them below `experts`, and sets their mode', () => {
  using layer = new MoeLayer(
    new TopKRouter({ hiddenSize: 3, numExperts: 2, topK: 1 }),
    new ModuleExperts([new Scaled(1), new Scaled(2)]),
  )
  expect([...layer.stateDict().keys()]).toEqual(['gate.weight', 'experts.0.scale', 'experts.1.scale'])
  layer.eval()
  expect(layer.experts[1]?.training).toBe(false)
})

test('a module given twice is one set of parameters, which gets both gradients', () => {
  expectNoLeak(() => {
    const shared = new Scaled(3)
    using experts = new ModuleExperts([shared, shared])
    expect(experts.numParameters).toBe(1)
    mixture(experts, ones([2, 1]), routingOf(tensor([[0n], [1n]]), tensor([[5], [7]]), 2))
      .sum()
      .backward()
    expect(shared.scale.grad?.item()).toBe(5 + 7)
  })
})

describe('a module that nobody chose', () => {
  test('is not called and gets no gradient', () => {
    class Untouchable extends Scaled {
      override forward(): Tensor {
        throw new Error('called')
      }
    }
    const experts = new ModuleExperts([new Untouchable(1), new Scaled(2)])
    const chosen = tensor([[1n], [1n]])
    mixture(experts, ones([2, 4]), routingOf(chosen, ones([2, 1]), 2))
      .sum()
      .backward()
    expect(experts[0]?.scale.grad).toBeNull()
    expect(experts[1]?.scale.grad?.item()).toBe(8)
  })
})

test('no module at all is refused', () => {
  expect(() => new ModuleExperts([])).toThrow('experts: the list of modules is empty; give at least one')
})

test('a module that changes the shape of its rows is named', () => {
  const experts = new ModuleExperts([new PlainMlp(4, 2), new Linear(4, 3)])
  expect(() => experts.grouped(randn([5, 4]), [2, 3])).toThrow(
    'experts.1: expert 1 made [3,3] of [3,4]; its output must be shaped as its input',
  )
})
