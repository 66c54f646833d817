import { expect, test } from 'vitest'
import { manualSeed, noGrad, randn, type Tensor, tidy } from '../torch/index.ts'
import { Lstm } from './lstm.ts'

const [inputs, hidden] = [3, 4]

function make(): Lstm {
  manualSeed(2)
  return new Lstm(inputs, hidden).to('f64')
}

/** The equations, a number at a time. */
function reference(layer: Lstm, rows: readonly number[][]): number[][] {
  const [input, recurrent] = [layer.weight_ih_l0, layer.weight_hh_l0].map(
    weight => weight.tolist() as number[][],
  )
  const [b, d] = [layer.bias_ih_l0, layer.bias_hh_l0].map(bias => bias.tolist() as number[])
  const dot = (row: readonly number[] = [], x: readonly number[]): number =>
    row.reduce((sum, weight, i) => sum + weight * (x[i] ?? 0), 0)
  const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
  let [h, c] = [new Array<number>(hidden).fill(0), new Array<number>(hidden).fill(0)]
  return rows.map(x => {
    const gate = (k: number, j: number): number => {
      const row = k * hidden + j
      return dot(input?.[row], x) + (b?.[row] ?? 0) + dot(recurrent?.[row], h) + (d?.[row] ?? 0)
    }
    c = c.map((old, j) => sigmoid(gate(1, j)) * old + sigmoid(gate(0, j)) * Math.tanh(gate(2, j)))
    h = c.map((cell, j) => sigmoid(gate(3, j)) * Math.tanh(cell))
    return h
  })
}

test('a layer follows its equations', () =>
  noGrad(() =>
    tidy(() => {
      const layer = make()
      const x = randn([1, 5, inputs], { seed: 1, dtype: 'f64' })
      const wanted = reference(layer, (x.tolist() as number[][][])[0] ?? []).flat()
      // Sums of a dozen products of numbers near 1, in another order.
      for (const [i, value] of (layer.forward(x).y.flatten().tolist() as number[]).entries())
        expect(value).toBeCloseTo(wanted[i] ?? Number.NaN, 14)
    }),
  ))

test('a text goes on where it was left', () =>
  noGrad(() =>
    tidy(() => {
      const layer = make()
      const x = randn([2, 6, inputs], { seed: 1, dtype: 'f64' })
      const [before, after] = x.split(4, 1) as [Tensor, Tensor]
      const first = layer.forward(before)
      const second = layer.forward(after, first.state)
      expect(second.y.equal(layer.forward(x).y.narrow(1, 4, 2))).toBe(true)
    }),
  ))
