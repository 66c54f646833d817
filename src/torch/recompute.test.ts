import { describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../tests/support/tensors.ts'
import { Parameter } from '../nn/index.ts'
import {
  autocast,
  DisposedTensorError,
  dropout,
  grad,
  isSecondRun,
  manualSeed,
  memoryUse,
  noGrad,
  randn,
  recompute,
  resetPeakMemory,
  type Tensor,
  TorchError,
  tidy,
} from './index.ts'

/** A function with a parameter of its own, random numbers, and results of every kind. */
function noisy(weight: Tensor, x: Tensor, { shift }: { shift: Tensor }) {
  const hidden = dropout(x.matmul(weight).tanh(), 0.5, true).add(shift)
  const [top, indices] = hidden.topk(2, -1)
  return { hidden, routing: { top, indices }, same: [top] }
}

type Run = (
  fn: (x: Tensor, context: { shift: Tensor }) => ReturnType<typeof noisy>,
  args: [Tensor, { shift: Tensor }],
) => ReturnType<typeof noisy>

/** Loss and gradients of x, the shift and the parameter, flat. */
function gradients(run: Run, dtype: 'f32' | 'f64'): number[][] {
  manualSeed(3)
  using weight = new Parameter(randn([4, 4], { seed: 1, dtype }))
  return tidy(() => {
    const x = randn([3, 4], { seed: 2, dtype, requiresGrad: true })
    const shift = randn([4], { seed: 4, dtype, requiresGrad: true })
    const loss = tidy(() => {
      const { hidden, routing } = run((...args) => noisy(weight, ...args), [x, { shift }])
      return hidden.square().sum().add(routing.top.sum(), 0.1)
    })
    loss.backward()
    const next = randn([2]) // the stream goes on as if nothing had run twice
    return [loss, x.grad!, shift.grad!, weight.grad!, next].map(tensor =>
      [...tensor.toTypedArray()].map(Number),
    )
  })
}

const plain: Run = (fn, args) => fn(...args)

describe('recompute', () => {
  test.each(['f32', 'f64'] as const)(
    '%s gradients of all results, with the same random numbers, bit for bit',
    dtype => {
      expectNoLeak(() => expect(gradients(recompute, dtype)).toEqual(gradients(plain, dtype)))
    },
  )

  test('nests', () => {
    const nested: Run = (fn, args) => recompute((...again: typeof args) => recompute(fn, again), args)
    expectNoLeak(() => expect(gradients(nested, 'f64')).toEqual(gradients(plain, 'f64')))
  })

  test('outside of any tidy() too', () => {
    const x = randn([3], { seed: 1, requiresGrad: true })
    const y = recompute(value => value.square(), [x])
    y.sum().backward()
    expect(x.grad?.tolist()).toEqual(x.mul(2).tolist())
    expect(memoryUse().scopes).toBe(0)
  })

  test('runs once without a graph, and twice, the second time saying so, with one', () => {
    const runs: boolean[] = []
    const seen = (x: Tensor): Tensor => {
      runs.push(isSecondRun())
      return x.exp()
    }
    tidy(() => {
      const x = randn([2], { requiresGrad: true })
      noGrad(() => recompute(seen, [x]))
      recompute(seen, [x.detach()])
      expect(runs).toEqual([false, false])
      recompute(seen, [x]).sum().backward()
      expect(runs).toEqual([false, false, false, true])
    })
    expect(isSecondRun()).toBe(false)
  })

  test('indices have no gradient, and what passes through is left as it is', () => {
    tidy(() => {
      const x = randn([3], { requiresGrad: true })
      const fixed = randn([3])
      const { indices, same, other } = recompute(
        (a, b) => ({ indices: a.argsort(0), same: a, other: b }),
        [x, fixed],
      )
      expect([indices.requiresGrad, same === x, x.isLeaf, other.requiresGrad]).toEqual([
        false,
        true,
        true,
        false,
      ])
    })
  })

  test('in mixed precision computes the second time as the first', () => {
    using weight = new Parameter(randn([8, 8], { seed: 1 }))
    const gradient = (run: (fn: (x: Tensor) => Tensor, args: [Tensor]) => Tensor): number[] =>
      tidy(() => {
        weight.grad = null
        const x = randn([8, 8], { seed: 2, requiresGrad: true })
        const loss = autocast('cpu', 'bf16', () =>
          run(a => a.matmul(weight), [x])
            .float()
            .square()
            .sum(),
        )
        loss.backward()
        return [...weight.grad!.toTypedArray(), ...x.grad!.toTypedArray()].map(Number)
      })
    expect(gradient(recompute)).toEqual(gradient((fn, args) => fn(...args)))
  })

  test('keeps the arguments, not what lies between: memory of one function at a time', () => {
    const [rows, width, calls, inner] = [64, 64, 8, 16]
    const bytes = 4 * rows * width
    const peak = (run: (fn: (x: Tensor) => Tensor, args: [Tensor]) => Tensor): number =>
      tidy(() => {
        const x = randn([rows, width], { seed: 1, requiresGrad: true })
        const chain = (a: Tensor): Tensor =>
          tidy(() => Array.from({ length: inner }).reduce<Tensor>(h => h.sin(), a))
        const start = memoryUse().bytes
        resetPeakMemory()
        Array.from({ length: calls })
          .reduce<Tensor>(h => run(chain, [h]), x)
          .sum()
          .backward()
        return (memoryUse().peakBytes - start) / bytes
      })
    // Each sine keeps its input: `calls * inner` of them, against `calls` arguments and `inner` inputs at a time. Beside
    // them: the last result, its gradient, the one that is being made, the random state (5 kB of 16) of each call, and a
    // kilobyte of scalars.
    expect(peak((fn, args) => fn(...args))).toBeGreaterThanOrEqual(calls * inner)
    expect(peak(recompute)).toBeLessThanOrEqual(calls + inner + 3 + (calls * 5120 + 1024) / bytes)
  })

  test('a thousand steps leak neither handles nor bytes', () => {
    const step = (): void =>
      tidy(() => {
        const x = randn([16], { requiresGrad: true })
        recompute(a => a.sin().exp(), [x])
          .sum()
          .backward()
        void recompute(a => a.sin(), [x]) // a graph that is dropped
      })
    for (let i = 0; i < 100; i++) step()
    const before = memoryUse()
    for (let i = 0; i < 1000; i++) step()
    expect(memoryUse().tensors).toBe(before.tensors)
    expect(memoryUse().bytes - before.bytes).toBeLessThan(1000 * 24) // the smallest block, once a step
  })
})

describe('recompute refuses', () => {
  const failing = (fail: () => void): Tensor => {
    const x = randn([2], { requiresGrad: true })
    return recompute(
      a => {
        if (isSecondRun()) fail()
        return a.exp()
      },
      [x],
    ).sum()
  }

  test('nothing of what the function throws: it comes out of backward, and the next step is well', () => {
    class Own extends Error {}
    const error = new Own('mine')
    expectNoLeak(() => {
      const loss = failing(() => {
        throw error
      })
      expect(() => loss.backward()).toThrow(error)
    })
    expect(isSecondRun()).toBe(false)
    expect(() => tidy(() => failing(() => {}).backward())).not.toThrow()
  })

  test.each<[string, (loss: Tensor, x: Tensor) => void, RegExp]>([
    ['a second derivative', (loss, x) => void grad(loss, [x], { createGraph: true }), /no second derivative/],
    ['grad()', (loss, x) => void grad(loss, [x]), /grad\(\) cannot go through recompute/],
    [
      'going backward twice',
      loss => {
        loss.backward()
        loss.backward()
      },
      /retainGraph|retain_graph/,
    ],
  ])('%s', (_, act, message) => {
    tidy(() => {
      const x = randn([2], { requiresGrad: true })
      const loss = recompute(a => a.exp(), [x]).sum()
      expect(() => act(loss, x)).toThrow(message)
    })
  })

  test('going backward twice works when the graph is retained', () => {
    tidy(() => {
      const x = randn([2], { requiresGrad: true })
      const loss = recompute(a => a.exp(), [x]).sum()
      loss.backward(null, { retainGraph: true })
      loss.backward()
      expect(x.grad?.tolist()).toEqual(x.exp().mul(2).tolist())
    })
  })

  test('a function that does another thing the second time', () => {
    tidy(() => {
      const x = randn([2], { requiresGrad: true })
      const [y] = recompute(a => (isSecondRun() ? [a.exp(), a.sin()] : [a.exp()]), [x])
      expect(() => y!.sum().backward()).toThrow('2 tensors in the second run and 1 in the first')
    })
  })

  test('a tensor that was neither passed in nor kept', () => {
    tidy(() => {
      const x = randn([2], { requiresGrad: true })
      const y = tidy(() => {
        const hidden = randn([2])
        return recompute(a => a.mul(hidden), [x])
      })
      expect(() => y.sum().backward()).toThrow(DisposedTensorError)
    })
  })

  test('an argument that was changed in between', () => {
    tidy(() => {
      const x = randn([2], { requiresGrad: true }).mul(1)
      const y = recompute(a => a.exp(), [x])
      noGrad(() => void x.mul_(2))
      expect(() => y.sum().backward()).toThrow(TorchError)
    })
  })
})
