// QMoE's code against its published dictionary, and its rounding against GPTQ's equations.
//
// The gold vectors are what this Python gives:
//
//   import heapq, hashlib
//   s = [.885] + [(1 - .885) / 2] * 2
//   P = [a * b for a in s for b in s]
//   q, res = [(-1., [])], []
//   while len(res) < 2 ** 16:
//     p, t = heapq.heappop(q)
//     if t: res.append(t)
//     if len(t) < 14:
//       for i, x in enumerate(P): heapq.heappush(q, (p * x, t + [i]))
//   hashlib.sha256('\n'.join(''.join(map(str, r)) for r in res).encode()).hexdigest()
//
// and of a row the longest matches, from its beginning on.
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { randn, type Tensor, tensor } from '../../torch/index.ts'
import { inverseFactor } from '../quantize/gptq.ts'
import { decodeTernary, encodeTernary } from './code.ts'
import { ternaryDictionary } from './dictionary.ts'
import { ternarize, ternaryValues } from './ternarize.ts'

describe('the code', () => {
  test('has the sequences of the published dictionary, in their order', () => {
    const { before, last } = ternaryDictionary()
    const names: string[] = []
    for (const [code, shorter] of before.entries()) names.push(`${names[shorter] ?? ''}${last[code]}`)
    expect(names.slice(0, 4)).toEqual(['0', '00', '000', '0000'])
    expect(names[65_535]).toBe('0002010020000')
    expect(createHash('sha256').update(names.join('\n')).digest('hex')).toBe(
      '87dd1258c2a8053c87ec795012f6cd85ac72f476494b059ddb18cf7448012f00',
    )
  })

  test('takes the longest sequences', () => {
    const symbol = (i: number): number =>
      Math.min(2, Number((i * i * 7 + i * 3) % 23 === 0) + 2 * Number((i * i * 5 + i) % 29 === 0))
    const { codes } = encodeTernary(
      Uint8Array.from({ length: 200 }, (_, i) => symbol(i)),
      200,
    )
    expect([...codes]).toEqual([53755, 62792, 30744, 20498, 60032, 28857, 12575, 52662, 17120, 1495])
  })

  test('property: loses nothing, and every row stands for itself', () => {
    const sizes = fc.record({ rows: fc.integer({ min: 1, max: 5 }), half: fc.integer({ min: 1, max: 60 }) })
    const thousandths = fc.infiniteStream(fc.integer({ min: 0, max: 999 }))
    fc.assert(
      fc.property(sizes, fc.integer({ min: 0, max: 1000 }), thousandths, ({ rows, half }, zeros, draws) => {
        const draw = (): number => draws.next().value ?? 0
        const symbols = Uint8Array.from({ length: rows * 2 * half }, () =>
          draw() < zeros ? 0 : 1 + (draw() % 2),
        )
        const all = encodeTernary(symbols, 2 * half)
        expect(decodeTernary(all, 2 * half)).toEqual(symbols)
        const [from, to] = all.offsets.subarray(rows - 1)
        const { codes } = encodeTernary(symbols.subarray((rows - 1) * 2 * half), 2 * half)
        expect(all.codes.subarray(from, to)).toEqual(codes)
      }),
      { numRuns: 100 },
    )
  })

  test('takes less than a bit for a symbol where as many are zero as it is made for', () => {
    const noise = randn([1, 40_000], { seed: 1 }).toTypedArray<'f32'>()
    const symbols = Uint8Array.from(noise, x => (Math.abs(x) < 1.576 ? 0 : x < 0 ? 1 : 2)) // 88.5% within
    const { codes } = encodeTernary(symbols, 40_000)
    expect((16 * codes.length) / symbols.length).toBeLessThan(0.9) // their entropy is 0.63
  })

  test('refuses codes of other rows', () => {
    const { codes, offsets } = encodeTernary(Uint8Array.of(0, 1, 2, 0), 4)
    expect(() => decodeTernary({ codes, offsets }, 2, 'f')).toThrow('f: row 0 has more than its 2 symbols')
    expect(() => decodeTernary({ codes, offsets }, 6, 'f')).toThrow('f: row 0 has fewer than its 6 symbols')
  })
})

/** Inputs that correlate: [n, K]. */
const inputs = (count: number, columns: number): Tensor =>
  randn([count, 8], { seed: 1 })
    .matmul(randn([8, columns], { seed: 2 }))
    .add(randn([count, columns], { seed: 3 }).mul(0.5))

const outputError = (w: Tensor, rounded: Tensor, x: Tensor): number =>
  Number(x.matmul(w.sub(rounded).t()).square().sum().item())

describe('rounding', () => {
  const [columns, x] = [160, inputs(640, 160)]
  const hessian = x.t().matmul(x)
  const w = randn([6, columns], { seed: 4 })

  test('takes each number to the nearest of three, alone', () => {
    const rows = tensor([
      [4, 2.1, 1.9, -1.1, -0.9, -2],
      [1, 2, 3, 0, 1.4, 1.6],
      [0, 0, 0, 0, 0, 0],
    ])
    const matrix = ternarize(rows, null)
    expect(matrix.symbols.tolist()).toEqual([
      [2, 2, 0, 1, 0, 1],
      [0, 2, 2, 0, 0, 2],
      [0, 0, 0, 0, 0, 0],
    ])
    expect(ternaryValues(matrix).tolist()).toEqual([
      [4, 4, 0, -2, 0, -2],
      [0, 3, 3, 0, 0, 3],
      [0, 0, 0, 0, 0, 0],
    ])
  })

  test('does what the equations of GPTQ say', () => {
    const damped = hessian.double().clone()
    damped.diagonal().add_(damped.diagonal().mean().mul(0.01))
    const start = damped
      .inverse()
      .unbind()
      .map(row => [...row.contiguous().toTypedArray<'f64'>()])
    const { symbols, least, most } = ternarize(w, inverseFactor(hessian))
    let same = 0
    for (const [r, row] of w.unbind().entries()) {
      const left = [...row.contiguous().toTypedArray<'f32'>()]
      const [low, high] = [Math.min(...left, 0), Math.max(...left, 0)]
      expectClose(least.select(0, r), tensor(low), 0)
      expectClose(most.select(0, r), tensor(high), 0)
      const inverse = start.map(values => [...values])
      for (const j of left.keys()) {
        const value = (left[j] as number) > high / 2 ? high : (left[j] as number) < low / 2 ? low : 0
        same += Number(
          (value === high ? 2 : value === low ? 1 : 0) === Number(symbols.select(0, r).select(0, j).item()),
        )
        const own = [...(inverse[j] as number[])]
        const lost = ((left[j] as number) - value) / (own[j] as number)
        for (let k = j + 1; k < columns; k++) left[k]! -= lost * (own[k] as number)
        for (const other of inverse.slice(j + 1)) {
          const factor = (other[j] as number) / (own[j] as number)
          for (const [k, entry] of own.entries()) other[k]! -= factor * entry
        }
      }
    }
    // Where a number is as near to two, f32 and f64 may differ, and what follows with it: rarely in 960 numbers.
    expect(same / w.numel).toBeGreaterThan(0.97)
  })

  test('outputs are nearer than those of numbers rounded alone', () => {
    const [alone, together] = [null, inverseFactor(hessian)].map(factor =>
      outputError(w, ternaryValues(ternarize(w, factor)), x),
    ) as [number, number]
    expect(together).toBeLessThan(0.7 * alone)
  })

  test('leaves nothing behind', () =>
    expectNoLeak(() => {
      using factor = inverseFactor(hessian)
      const matrix = ternarize(w, factor)
      using _values = ternaryValues(matrix)
      for (const part of Object.values(matrix)) part.dispose()
    }))
})
