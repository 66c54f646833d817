// Computations that are played from a tape, against the same computations done again.
import { expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../tests/support/tensors.ts'
import {
  arange,
  autocast,
  cat,
  inferenceMode,
  memoryUse,
  noGrad,
  rand,
  randn,
  record,
  refuseTape,
  type Tensor,
  tensor,
  tidy,
  vectorNorm,
  zeros,
} from './index.ts'

/** Records a body within the scope of an inference. */
const recorded = (body: () => Tensor) => inferenceMode(() => tidy(() => record(() => [body()])))

test('reads what its inputs hold then, through views, lists and writes', () => {
  using x = zeros([4, 3]).persist()
  using kept = zeros([8, 3]).persist()
  using place = zeros([4], { dtype: 'i64' }).persist()
  const body = (): Tensor =>
    tidy(() => {
      const [a, b] = x.chunk(2, 0) as [Tensor, Tensor]
      const sum = cat([b, a.mul(2), b], 0)
        .narrow(0, 0, 4)
        .add_(1)
      kept.indexCopy_(0, place, sum.to('f32')) // to() gives the same tensor
      return kept.matmul(sum.t()).softmax(-1)
    })
  const { tape, refusal } = recorded(body)
  expect(refusal).toBe('')
  for (const seed of [1, 2, 3]) {
    noGrad(() => {
      x.copy_(randn([4, 3], { seed }))
      place.copy_(arange(seed, seed + 4))
      const before = kept.clone()
      const played = inferenceMode(() => tape!.run()[0]!)
      const after = kept.clone()
      kept.copy_(before)
      const wanted = inferenceMode(body)
      expectClose(played, wanted, 0)
      expectClose(after, kept, 0)
      for (const tensor of [before, played, after, wanted]) tensor.dispose()
    })
  }
})

test('keeps no more than one run needs', () => {
  using x = zeros([1000]).persist()
  const body = (): Tensor => {
    let y = x.add(1)
    for (let i = 0; i < 100; i++) y = y.add(1)
    return y.sum()
  }
  const { tape } = recorded(body)
  expectNoLeak(() => {
    const before = memoryUse().bytes
    const peak = inferenceMode(() =>
      tidy(() =>
        tape!
          .run()[0]!
          .add(memoryUse().bytes - before)
          .item(),
      ),
    )
    expect(peak).toBeLessThan(101_000 + 4000) // one result
  })
  expect(inferenceMode(() => tidy(() => tape!.run()[0]!.item()))).toBe(101_000)
})

test.each([
  ['a number that is looked at', (x: Tensor) => x.add(x.sum().item()), 'the host looks at numbers'],
  [
    'numbers that are looked at',
    (x: Tensor) => x.add(x.toTypedArray<'f32'>()[0] ?? 0),
    'the host looks at numbers',
  ],
  ['numbers of the host', (x: Tensor) => x.add(tensor([1, 2])), 'numbers come from the host'],
  ['shapes that follow from data', (x: Tensor) => x.nonzero().sum(), 'shapes or numbers follow from data'],
  ['what is not computed', (x: Tensor) => x, 'a result is not computed'],
] as const)('%s cannot be played, but has run', (_, body, why) => {
  using x = tensor([3, 4])
  expectNoLeak(() => {
    const { results, tape, refusal } = recorded(() => body(x))
    expect(tape).toBeNull()
    expect(refusal).toBe(why)
    if (results[0]!.handle !== x.handle) results[0]!.dispose()
  })
})

test('several results are played, each anew', () => {
  using x = tensor([3, 4]).persist()
  const { tape } = inferenceMode(() => tidy(() => record(() => [x.add(1), x.mul(2), x.topk(1, 0)[1]])))
  for (const values of [
    [3, 4],
    [9, 5],
  ]) {
    x.copy_(tensor(values))
    const [sum, product, largest] = inferenceMode(() =>
      tidy(() => tape!.run().map(result => result.tolist())),
    )
    expect(sum).toEqual(values.map(value => value + 1))
    expect(product).toEqual(values.map(value => value * 2))
    expect(largest).toEqual([values.indexOf(Math.max(...values))])
  }
  tape![Symbol.dispose]()
})

test('what depends on more than tensors says so', () => {
  using x = tensor([3, 4])
  const { results, refusal } = recorded(() => {
    refuseTape('it is Monday')
    return x.add(1)
  })
  results[0]!.dispose()
  expect(refusal).toBe('it is Monday')
})

test('gives back what it knows', () => {
  const before = memoryUse().bytes
  {
    using x = zeros([100_000]).persist()
    const { tape, results } = recorded(() => x.add(1))
    results[0]!.dispose()
    tape![Symbol.dispose]()
    expect(() => inferenceMode(() => tape!.run()[0]!)).toThrow('the tape was given back')
  }
  expect(memoryUse().bytes - before).toBeLessThan(400_000) // x's, which no tape keeps
})

test.each([
  ['random numbers', () => rand([3]), 'random numbers are drawn'],
  ['a number for the host', (x: Tensor) => x.add(vectorNorm([x])), 'shapes or numbers follow from data'],
  [
    'mixed precision',
    (x: Tensor) => autocast('cpu', 'bf16', () => x.view([1, 2]).matmul(x.view([2, 1]))),
    'precision is mixed',
  ],
] as const)('%s cannot be played', (_, body, why) => {
  using x = tensor([3, 4])
  tidy(() => expect(recorded(() => body(x)).refusal).toBe(why))
})

test('outside of inferenceMode() there may be gradients', () => {
  using x = tensor([3, 4])
  tidy(() => expect(record(() => [x.add(1)]).refusal).toBe('gradients may be asked for'))
})

test('an error ends the recording, or the run, and another can begin', () => {
  using x = zeros([2]).persist()
  const broken = (): Tensor => {
    throw new Error('stop')
  }
  expect(() => recorded(broken)).toThrow('stop')
  using place = zeros([1], { dtype: 'i64' }).persist()
  const { tape } = recorded(() => x.indexSelect(0, place))
  place.fill_(7)
  expect(() => inferenceMode(() => tape!.run()[0]!)).toThrow(/index out of range/)
  place.fill_(1)
  expect(inferenceMode(() => tidy(() => tape!.run()[0]!.item()))).toBe(0)
})
