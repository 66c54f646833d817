import { expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { constant, declared, Parameter } from '../../nn/index.ts'
import { randn, type Tensor, tensor } from '../../torch/index.ts'
import { Adafactor, type AdafactorOptions } from './adafactor.ts'

type Matrix = number[][]

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

/** Algorithm 4 of the paper, one number at a time; rows and columns by their means, which differ from its sums by a factor that cancels. */
function scalarAdafactor(
  start: Matrix,
  gradients: Matrix[],
  lr: number,
  decay: number,
  clip: number,
): Matrix {
  let p = start
  let rows = start.map(() => 0)
  let columns = (start[0] as number[]).map(() => 0)
  gradients.forEach((g, i) => {
    const b2 = 1 - (i + 1) ** -0.8
    rows = rows.map((r, o) => b2 * r + (1 - b2) * mean((g[o] as number[]).map(x => x * x)))
    columns = columns.map((c, j) => b2 * c + (1 - b2) * mean(g.map(row => (row[j] as number) ** 2)))
    const u = g.map((row, o) =>
      row.map((x, j) => x / Math.sqrt(((rows[o] as number) * (columns[j] as number)) / mean(rows))),
    )
    const rms = Math.sqrt(mean(u.flat().map(x => x * x)))
    p = p.map((row, o) =>
      row.map((x, j) => x * (1 - lr * decay) - (lr * (u[o]?.[j] as number)) / Math.max(1, rms / clip)),
    )
  })
  return p
}

function run(
  start: Tensor,
  gradients: readonly Tensor[],
  stacked: boolean,
  options: AdafactorOptions,
): Tensor {
  const declaration = { shape: start.shape, role: 'experts', init: constant(0) } as const
  const parameter = declared(() => new Parameter({ ...declaration, ...(stacked && { stacked: true }) }))
  parameter.make(start.clone())
  using optimizer = new Adafactor([parameter], options)
  for (const [i, gradient] of gradients.entries()) {
    parameter.grad = gradient.mul(i + 1) // growing, so that the clip binds
    optimizer.update(0.1)
  }
  return parameter
}

const options = { weightDecay: 0.3, updateClip: 0.9 }
const gradients = [1, 2, 3].map(seed => randn([2, 3, 5], { dtype: 'f64', seed }))
const start = randn([2, 3, 5], { dtype: 'f64', seed: 0 })

test("a matrix follows the paper's algorithm; so does each expert of a stack by itself", () => {
  const experts = [0, 1].map(expert =>
    scalarAdafactor(
      start.select(0, expert).tolist() as Matrix,
      gradients.map(
        (g, i) =>
          g
            .select(0, expert)
            .mul(i + 1)
            .tolist() as Matrix,
      ),
      0.1,
      0.3,
      0.9,
    ),
  )
  expectClose(run(start, gradients, true, options), tensor(experts, { dtype: 'f64' }), 1e-12)
  const first = run(
    start.select(0, 0),
    gradients.map(g => g.select(0, 0)),
    false,
    options,
  )
  expectClose(first, tensor(experts[0] as Matrix, { dtype: 'f64' }), 1e-12)
})

test('a vector keeps each square: the first step is the sign of the gradient, as b2 is 0', () => {
  const vector = tensor([3, -0.01, 200], { dtype: 'f64' })
  const moved = run(tensor([0, 0, 0], { dtype: 'f64' }), [vector], false, {})
  expectClose(moved, tensor([-0.1, 0.1, -0.1], { dtype: 'f64' }), 1e-12)
})

test('what is kept of a matrix is a row and a column', () => {
  const parameter = new Parameter(randn([30, 50], { seed: 0 }))
  using optimizer = new Adafactor([parameter])
  const sizes = [...optimizer.state()].map(([name, { numel }]) => [name, numel])
  expect(sizes).toEqual([
    ['exp_avg_sq_row.0', 30],
    ['exp_avg_sq_col.0', 50],
  ])
})
