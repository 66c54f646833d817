import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../tests/support/tensors.ts'
import {
  arange,
  cat,
  gradcheck,
  manualSeed,
  noGrad,
  ones,
  randn,
  type Tensor,
  tensor,
  zeros,
} from '../torch/index.ts'
import {
  Attention,
  attend,
  Buffer,
  causalMask,
  Dropout,
  declared,
  Embedding,
  GatedMlp,
  LayerNorm,
  Linear,
  Module,
  plainFrequencies,
  RMSNorm,
  rotate,
  rotation,
  undrawn,
} from './index.ts'

class Tree extends Module {
  readonly first = new Linear(2, 3)
  readonly layers = [new Linear(3, 3, { bias: false }), new Linear(3, 1)]
  readonly count = new Buffer([2])
  readonly tied = this.first.weight
}

describe('Module', () => {
  test('paths of properties name parameters and buffers; a shared one appears once', () => {
    const tree = new Tree()
    expect([...tree.namedParameters().keys()].sort()).toEqual([
      'first.bias',
      'layers.0.weight',
      'layers.1.bias',
      'layers.1.weight',
      'tied', // also first.weight: a module's own tensors come before those of its children
    ])
    expect([...tree.namedBuffers().keys()]).toEqual(['count'])
    expect(tree.numParameters).toBe(6 + 3 + 9 + 3 + 1)
  })

  test('a state dict loads into another module, and only if everything fits', () => {
    const [from, to] = [new GatedMlp(2, 3), new GatedMlp(2, 3)]
    to.loadStateDict(from.stateDict())
    expectClose(to.up_proj.weight, from.up_proj.weight, 0)
    const wrong = new Map<string, Tensor>(from.stateDict())
      .set('extra', zeros([1]))
      .set('up_proj.weight', zeros([9, 9]))
    wrong.delete('gate_proj.weight')
    noGrad(() => from.down_proj.weight.zero_())
    expect(() => to.loadStateDict(wrong)).toThrow(
      'missing gate_proj.weight; up_proj.weight has shape [9,9], the model wants [3,2]; surplus extra',
    )
    expect(to.down_proj.weight.abs().sum().item()).toBeGreaterThan(0) // nothing was half-loaded
  })

  test('train and eval reach every module, zeroGrad every gradient', () => {
    const tree = new Tree().eval()
    expect(tree.layers.every(layer => !layer.training)).toBe(true)
    tree.first
      .forward(ones([1, 2]))
      .sum()
      .backward()
    tree.zeroGrad()
    expect(tree.first.weight.grad).toBeNull()
  })

  test('to() converts in place: parameters keep their identity', () => {
    const linear = new Linear(2, 2)
    const { weight } = linear
    linear.to('f64')
    expect(linear.weight).toBe(weight)
    expect(weight.dtype).toBe('f64')
    expect(weight.requiresGrad).toBe(true)
  })

  test.each(['bf16', 'f16', 'f64'] as const)('buffers stay as they are when weights become %s', dtype => {
    class Counted extends Module {
      readonly weight = new Linear(2, 2).weight
      readonly bias = new Buffer([1], { value: () => tensor([1 / 3]) })
    }
    const module = new Counted().to(dtype)
    expect(module.weight.dtype).toBe(dtype)
    expect(module.bias.dtype).toBe('f32')
    expect(module.bias.item()).toBe(Math.fround(1 / 3))
  })

  test('dispose frees everything', () => expectNoLeak(() => new Tree().dispose()))
})

test('undrawn leaves the random stream alone', () => {
  manualSeed(1)
  const wanted = randn([3]).tolist()
  manualSeed(1)
  undrawn(() => new Linear(10, 10))
  expect(randn([3]).tolist()).toEqual(wanted)
})

test('declarations take no memory, tell shapes, roles and starts, and become tensors when they are made', () => {
  expectNoLeak(() => {
    const layer = declared(() => new Linear(3, 2, { role: 'router' }))
    expect(layer.declarations()).toEqual(
      new Map([
        [
          'weight',
          {
            shape: [2, 3],
            role: 'router',
            init: { kind: 'uniform', bound: 1 / Math.sqrt(3) },
            encodable: true,
          },
        ],
        ['bias', { shape: [2], role: 'router', init: { kind: 'uniform', bound: 1 / Math.sqrt(3) } }],
      ]),
    )
    expect(layer.numParameters).toBe(8)
    layer.weight.make(ones([2, 3]))
    layer.bias?.make(zeros([2]))
    expect(layer.forward(ones([1, 3])).tolist()).toEqual([[3, 3]])
    expect(layer.weight.requiresGrad).toBe(true)
    layer.dispose()
  })
})

test('RMSNorm and LayerNorm follow their formulas', () => {
  const x = tensor([[3, 4]], { dtype: 'f64' })
  const rms = new RMSNorm(2, 0).to('f64')
  expectClose(rms.forward(x), x.div(Math.sqrt(12.5)), 1e-12)
  const layer = new LayerNorm(2, 0).to('f64')
  expectClose(layer.forward(x), tensor([[-1, 1]], { dtype: 'f64' }), 1e-12)
})

test('RMSNorm computes in f32 for half-precision input', () => {
  // The mean of 1 and 256 squares of 1/16 is (1 + 1) / 257; in bf16, 1 + 1/256 would stay 1 all the way.
  const x = tensor([[1, ...new Array(256).fill(1 / 16)]])
  const norm = new RMSNorm(257, 0)
  const half = norm.to('bf16').forward(x.to('bf16'))
  expect(half.dtype).toBe('bf16')
  const exact = Math.sqrt(257 / 2)
  expect(Math.abs((half.select(1, 0).item() - exact) / exact)).toBeLessThan(2 ** -8) // one rounding to bf16
})

test('a padding row of an embedding gets no gradient', () => {
  const table = new Embedding(3, 2, { paddingIndex: 0 })
  table
    .forward(tensor([0n, 1n, 1n]))
    .sum()
    .backward()
  expect(table.weight.grad?.tolist()).toEqual([
    [0, 0],
    [2, 2],
    [0, 0],
  ])
})

test('dropout acts in training only and keeps the mean', () => {
  manualSeed(1)
  const dropout = new Dropout(0.25)
  const x = ones([100_000])
  // A mean of 1e5 draws with deviation sqrt(1/3): 5 sigma is 0.009.
  expect(Math.abs(dropout.forward(x).mean().item() - 1)).toBeLessThan(0.01)
  expect(dropout.eval().forward(x)).toBe(x)
})

describe('rotary embedding', () => {
  test('turns pairs by position times frequency', () => {
    const angles = rotation(tensor([0n, 1n, 5n]), plainFrequencies(4, 100))
    const x = tensor([[1, 0, 0, 0]]).expand([1, 1, 3, 4])
    const expected = [0, 1, 5].map(p => [Math.cos(p), 0, Math.sin(p), 0])
    expectClose(rotate(x, angles), tensor([[expected]]), 1e-6)
    const slow = tensor([[0, 1, 0, 0]]).expand([1, 1, 3, 4]) // the second pair turns 1/10 as fast
    const slower = [0, 1, 5].map(p => [0, Math.cos(p / 10), 0, Math.sin(p / 10)])
    expectClose(rotate(slow, angles), tensor([[slower]]), 1e-6)
  })

  test('scores depend on the distance of positions only', () => {
    const [q, k] = [randn([1, 1, 1, 8], { seed: 1 }), randn([1, 1, 1, 8], { seed: 2 })]
    const at = (x: Tensor, position: number): Tensor =>
      rotate(x, rotation(tensor([BigInt(position)]), plainFrequencies(8, 10_000)))
    const score = (i: number, j: number): number => at(q, i).mul(at(k, j)).sum().item()
    expect(score(9, 4)).toBeCloseTo(score(5, 0), 4)
  })
})

describe('causalMask', () => {
  test('blocks later positions', () => {
    expect(causalMask(3)?.tolist()).toEqual([
      [0, 1, 1],
      [0, 0, 1],
      [0, 0, 0],
    ])
    expect(causalMask(2, { past: 2 })?.tolist()).toEqual([
      [0, 0, 0, 1],
      [0, 0, 0, 0],
    ])
    expect(causalMask(1, { past: 7 })).toBeNull()
  })

  test('a window keeps positions with i - j < window', () => {
    expect(causalMask(4, { window: 2 })?.tolist()).toEqual([
      [0, 1, 1, 1],
      [0, 0, 1, 1],
      [1, 0, 0, 1],
      [1, 1, 0, 0],
    ])
    expect(causalMask(1, { past: 2, window: 2 })?.tolist()).toEqual([[1, 0, 0]])
  })
})

describe('Attention', () => {
  const within = (length: number) => ({ starts: [0, length], isCausal: true, window: null })
  const angles = (length: number) => rotation(arange(0, length), plainFrequencies(4, 10_000))

  /** softmax(q k^T / sqrt d) v, head by head and position by position. */
  function naive(attention: Attention, x: Tensor, heads: number): Tensor {
    const length = x.size(0)
    const split = (y: Tensor): Tensor => y.view([length, -1, 4]).transpose(0, 1).unsqueeze(0)
    const q = rotate(split(attention.q_proj.forward(x)), angles(length)).squeeze(0)
    const k = rotate(split(attention.k_proj.forward(x)), angles(length)).squeeze(0)
    const v = split(attention.v_proj.forward(x)).squeeze(0)
    const perHead = heads / k.size(0)
    const rows = Array.from({ length }, (_, t) => {
      const outputs = Array.from({ length: heads }, (_, h) => {
        const g = Math.floor(h / perHead)
        const seen = k.select(0, g).narrow(0, 0, t + 1) // [t+1, 4]
        const weights = seen.matmul(q.select(0, h).select(0, t)).div(2).softmax(0)
        return weights
          .unsqueeze(0)
          .matmul(v.select(0, g).narrow(0, 0, t + 1))
          .squeeze(0)
      })
      return cat(outputs).unsqueeze(0)
    })
    return attention.o_proj.forward(cat(rows))
  }

  test.each([
    [4, 4],
    [4, 2],
    [4, 1],
  ])(
    '%i query heads on %i key heads equal the loop over heads and positions',
    (numHeads, numKeyValueHeads) => {
      manualSeed(1)
      const attention = new Attention({ hiddenSize: 12, numHeads, numKeyValueHeads, headDim: 4 }).to('f64')
      const x = randn([6, 12], { dtype: 'f64', seed: 2 })
      const y = attention.forward(x, { rotation: angles(6), ...within(6) })
      expectClose(y, naive(attention, x, numHeads), 1e-7) // angles are f32: 6e-8 each
    },
  )

  test('a position sees nothing of later ones', () => {
    const attention = new Attention({ hiddenSize: 8, numHeads: 2 })
    const x = randn([5, 8], { seed: 1 })
    const changed = x.clone()
    changed.select(0, 4).fill_(9)
    const input = { rotation: angles(5), ...within(5) }
    const [a, b] = [attention.forward(x, input), attention.forward(changed, input)]
    expectClose(a.narrow(0, 0, 4), b.narrow(0, 0, 4), 0)
  })

  test('its gradients are the derivatives', () => {
    manualSeed(1)
    const attention = new Attention({ hiddenSize: 4, numHeads: 2, numKeyValueHeads: 1, headDim: 2 }).to('f64')
    const x = randn([3, 4], { dtype: 'f64', seed: 2, requiresGrad: true })
    const input = { rotation: rotation(arange(0, 3), plainFrequencies(2, 100)), ...within(3) }
    gradcheck(() => attention.forward(x, input).square().sum(), [x, ...attention.parameters()])
  })

  test('a row that may attend to nothing stays finite', () => {
    const blocked = ones([3, 3], { dtype: 'bool' })
    const [q, k, v] = [randn([1, 2, 3, 4]), randn([1, 2, 3, 4]), randn([1, 2, 3, 4])]
    expect(attend(q, k, v, { scale: 1, blocked }).isfinite().all().item()).toBe(1)
  })
})
