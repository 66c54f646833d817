import fc from 'fast-check'
import { expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { constant, declared, Parameter, type Role } from '../../nn/index.ts'
import { randn, stack, type Tensor, tidy, withKernels, zeros } from '../../torch/index.ts'
import { ExpertSlice } from '../trained/expert-slice.ts'
import { AdamW } from './adamw.ts'
import { Muon } from './muon.ts'
import { orthogonalized } from './newton-schulz.ts'
import { fiveTimes, referenceOrthogonalized } from './newton-schulz-reference.ts'

const random = (shape: readonly number[], seed: number): Tensor => randn(shape, { dtype: 'f64', seed })

function parameterOf(value: Tensor, role: Role = 'dense', stacked = false): Parameter {
  const { shape } = value
  const declaration = { shape, role, init: constant(0), ...(stacked && { stacked: true as const }) }
  const parameter = declared(() => new Parameter(declaration))
  parameter.make(value)
  return parameter
}

test.each([[[5, 5]], [[3, 7]], [[7, 3]], [[1, 4]]])(
  'products alone do to %j what the polynomial does to its singular values',
  shape => {
    const matrix = random(shape, 1)
    // f64 rounds at 1e-16; five iterations of slope 3.4 and a few additions amplify by less than 1e4.
    expectClose(orthogonalized(matrix), referenceOrthogonalized(matrix), 1e-11)
    const half = orthogonalized(matrix.to('f32'))
    expectClose(half.to('f64'), referenceOrthogonalized(matrix), 1e-3) // the same of 6e-8
  },
)

test('property: the kernel does what the operators do, however many matrices there are', () =>
  fc.assert(
    fc.property(
      fc.nat(4),
      fc.integer({ min: 1, max: 70 }),
      fc.integer({ min: 1, max: 70 }),
      (count, rows, columns) =>
        tidy(() => {
          const matrices = random([count, rows, columns], 1)
          const wanted = withKernels([], () => orthogonalized(matrices))
          expectClose(orthogonalized(matrices), wanted, 1e-11) // as above
          expectClose(orthogonalized(matrices.to('f32')).to('f64'), wanted, 1e-3)
        }),
    ),
    { numRuns: 40 },
  ))

test('singular values above a hundredth of the norm come within a third of 1', () => {
  const shares = Array.from({ length: 1000 }, (_, i) => 0.01 * 100 ** (i / 999))
  const values = shares.map(fiveTimes)
  expect(Math.min(...values)).toBeGreaterThan(0.67)
  expect(Math.max(...values)).toBeLessThan(1.33)
})

test('experts of a stack are orthogonalized each by itself; nothing stays nothing', () => {
  const experts = [random([4, 6], 1), random([4, 6], 2).mul(1000), zeros([4, 6], { dtype: 'f64' })]
  expectClose(orthogonalized(stack(experts)), stack(experts.map(orthogonalized)), 1e-12)
  expect(
    orthogonalized(experts[2] as Tensor)
      .abs()
      .sum()
      .item(),
  ).toBe(0)
})

test.each([
  ['adamw', [6, 4], 0.2 * Math.sqrt(6)],
  ['shape', [6, 4], Math.sqrt(6 / 4)],
  ['shape', [4, 6], 1],
] as const)('matrices follow the formula, scaled as %s', (updateScale, shape, scale) => {
  const [start, first, second] = [random(shape, 0), random(shape, 1), random(shape, 2)]
  const parameter = parameterOf(start.clone())
  using optimizer = new Muon([parameter], { updateScale, momentum: 0.9, weightDecay: 0.5 })
  for (const gradient of [first, second]) {
    parameter.grad = gradient
    optimizer.update(0.1)
  }
  let wanted = start
  const sum = first.mul(0.9).add(second)
  for (const direction of [first, second.add(sum, 0.9)])
    wanted = wanted.mul(1 - 0.1 * 0.5).sub(referenceOrthogonalized(direction), 0.1 * scale)
  expectClose(parameter, wanted, 1e-11)
})

test("a matrix's update is as large as AdamW's: a root mean square of about 0.2", () => {
  const parameter = parameterOf(zeros([48, 16], { dtype: 'f64' }))
  using optimizer = new Muon([parameter])
  parameter.grad = random([48, 16], 3)
  optimizer.update(1)
  const rms = parameter.square().mean().sqrt().item()
  // Singular values lie within a third of 1, so the root mean square of their matrix does of 0.2.
  expect(Math.abs(rms / 0.2 - 1)).toBeLessThan(1 / 3)
})

test('single experts of a stack move as in the whole stack', () => {
  const [start, gradient] = [random([3, 4, 6], 0), random([3, 4, 6], 1)]
  const [whole, part] = [
    parameterOf(start.clone(), 'experts', true),
    parameterOf(start.clone(), 'experts', true),
  ]
  using slice = ExpertSlice.of(part, 1)
  whole.grad = gradient
  part.grad = gradient
  using all = new Muon([whole])
  using one = new Muon([slice])
  all.update(0.1)
  one.update(0.1)
  expectClose(part.select(0, 1), whole.select(0, 1), 1e-12)
  expectClose(part.select(0, 0), start.select(0, 0), 0)
})

test.each<[string, number[], Role, boolean]>([
  ['embeddings', [5, 4], 'embedding', false],
  ['heads', [5, 4], 'head', false],
  ['routers', [3, 4], 'router', false],
  ['norms', [4], 'norm', false],
  ["experts' vectors", [3, 4], 'experts', true],
])('%s move by AdamW', (_, shape, role, stacked) => {
  const moved = (make: (parameter: Parameter) => Muon | AdamW): Tensor => {
    const parameter = parameterOf(random(shape, 0), role, stacked)
    using optimizer = make(parameter)
    for (const seed of [1, 2]) {
      parameter.grad = random(shape, seed)
      optimizer.update(0.1)
    }
    return parameter
  }
  const wanted = moved(p => new AdamW([p], { betas: [0.8, 0.9], epsilon: 1e-6, weightDecay: 0.3 }))
  const rest = { betas: [0.8, 0.9], epsilon: 1e-6 } as const
  expectClose(
    moved(p => new Muon([p], { weightDecay: 0.3, rest })),
    wanted,
    0,
  )
})

test('an update leaks nothing, and dispose frees what is kept', () => {
  expectNoLeak(() => {
    const parameter = parameterOf(random([4, 6], 0))
    const optimizer = new Muon([parameter])
    tidy(() => {
      parameter.grad = random([4, 6], 1)
      optimizer.update(0.1)
    })
    optimizer.dispose()
    parameter.dispose()
  })
})
