// Layers that compute from encoded weights, against the same weights decoded.
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../tests/support/tensors.ts'
import {
  arange,
  callOperator,
  chooseSimd,
  type EncodedRows,
  encodedExperts,
  encodedLinear,
  encodedPanels,
  encodedRows,
  fusedExperts,
  inPanels,
  linear,
  noGrad,
  quantizeBlocks,
  randint,
  randn,
  simdLevels,
  type Tensor,
  tensor,
  tidy,
  where,
  zeros,
  zerosLike,
} from './index.ts'

const [, , , written] = callOperator('switchyard::block_types') as string[][]
const halves = ['BF16', 'F16']
const numbers = ['F32', ...halves]
const panelTypes = callOperator('switchyard::panel_types') as string[]
const levels = simdLevels()
afterEach(() => chooseSimd(levels.at(-1) ?? ''))

/** Matrices of f32 as rows of a type: [..., I] -> u8 [..., bytes of a row]. */
function encoded(weights: Tensor, type: string): Tensor {
  const shape = weights.shape.slice(0, -1)
  if (numbers.includes(type)) {
    const same = weights.to(type.toLowerCase() as 'bf16').contiguous()
    return same.viewDtype('u8').view([...shape, -1])
  }
  return quantizeBlocks(weights.flatten(), type).view([...shape, -1])
}

/** What is encoded, in f32. */
const decoded = (rows: Tensor, type: string): Tensor => encodedRows(rows, type, arange(0, rows.size(0)))

/** The rows as layers have them: in panels where there are any. */
const stored = (weights: Tensor, type: string): EncodedRows =>
  inPanels({ rows: encoded(weights, type), encoding: type })

/** Mean squared error over mean square. */
function relativeError(actual: Tensor, wanted: Tensor): number {
  const [a, b] = [actual.to('f64'), wanted.to('f64')]
  return a.sub(b).square().sum().item() / b.square().sum().item()
}

/** The same over the mean square that products of such rows have: one of them may be near 0 itself. */
function relativeToRows(actual: Tensor, wanted: Tensor, x: Tensor, w: Tensor): number {
  const error = actual.to('f64').sub(wanted).square().sum().item()
  return error / ((x.square().sum().item() * w.square().sum().item()) / x.size(1))
}

/**
 * Activations beside panels are in 8 bits: an error of at most half of largest / 127, uniform, beside normal numbers whose
 * largest of 32 is near 2.1: (2.1 / 127)^2 / 12 = 2.3e-5 of their square, and twice as much where a block's is large. Others
 * lose the order of sums in f32.
 */
const allowed = (type: string): number => (panelTypes.includes(type) ? 5e-5 : 1e-11)

describe.each([...(written ?? []), ...numbers])('%s', type => {
  test('linear layers are those of the decoded weights, whatever their shape', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 9 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 300 }),
        (count, blocks, outputs) =>
          expectNoLeak(() =>
            noGrad(() => {
              const columns = 256 * blocks
              const w = randn([outputs, columns], { seed: 1 })
              const { rows, encoding } = stored(w, type)
              const x = randn([count, columns], { seed: 2 })
              const bias = randn([outputs], { seed: 3 })
              const y = encodedLinear(x, rows, encoding, outputs, bias)
              const wanted = linear(x.to('f64'), decoded(encoded(w, type), type).to('f64'), bias.to('f64'))
              expect(y.shape).toEqual([count, outputs])
              // 20: a square of a normal number is that many times its mean once in 100,000 times.
              const few = 1 + 20 / (count * outputs)
              if (count > 0) expect(relativeToRows(y, wanted, x, w)).toBeLessThan(few * allowed(type))
            }),
          ),
      ),
      { numRuns: 12 },
    )
  })

  test.each([
    ['few tokens', 2, 2, 'silu', true],
    ['many tokens', 50, 2, 'gelu', true],
    ['plain experts', 7, 1, 'relu', false],
    ['no token', 0, 2, 'silu', true],
  ] as const)('experts are those of the decoded weights: %s', (_, tokens, choices, activation, gated) => {
    noGrad(() =>
      tidy(() => {
        const [model, width, count] = [256, 512, 5]
        const wUp = randn([count, gated ? 2 * width : width, model], { seed: 1 }).mul(0.06)
        const wDown = randn([count, model, width], { seed: 2 }).mul(0.04)
        const [up, down] = [stored(wUp, type), stored(wDown, type)]
        const x = randn([tokens, model], { seed: 3 })
        const indices = randint(-1, count - 1, [tokens, choices], { seed: 4 }) // the last expert has none
        const weights = randn([tokens, choices], { seed: 5 })
        const y = encodedExperts(
          ...([
            x,
            indices,
            indices,
            weights,
            up.rows,
            up.encoding,
            down.rows,
            down.encoding,
            activation,
            gated,
            0,
          ] as const),
        )
        const whole = (w: Tensor): Tensor =>
          decoded(encoded(w, type).flatten(0, 1), type).view([count, w.size(1), -1])
        const wanted = fusedExperts(x, indices, weights, whole(wUp), whole(wDown), activation, gated)
        expect(y.shape).toEqual([tokens, model])
        // Twice through 8 bits, the second time numbers that are not normal: activations have heavier tails.
        if (tokens > 0) expect(relativeError(y, wanted)).toBeLessThan(4 * allowed(type))
      }),
    )
  })
})

test.each(['Q8_0', 'MXFP4', 'BF16'])(
  'clamped experts of %s have biases of their own, wherever they are',
  type => {
    noGrad(() =>
      tidy(() => {
        const [tokens, choices, model, width, count, limit] = [9, 2, 256, 256, 4, 0.5]
        const up = stored(randn([count, 2 * width, model], { seed: 1 }).mul(0.06), type)
        const down = stored(randn([count, model, width], { seed: 2 }).mul(0.04), type)
        const [upBias, downBias] = [
          randn([count, 2 * width], { seed: 3 }),
          randn([count, model], { seed: 4 }),
        ]
        const x = randn([tokens, model], { seed: 5 })
        const indices = randint(-1, count, [tokens, choices], { seed: 6 })
        const weights = randn([tokens, choices], { seed: 7 })
        // Expert e lies in place 3 - e.
        const places = where(indices.ge(0), indices.neg().add(3), indices)
        const turned = ({ rows }: EncodedRows): Tensor => rows.flip([0]).contiguous()
        const kernel = (at: Tensor, ups: Tensor, downs: Tensor): Tensor =>
          encodedExperts(
            ...([x, indices, at, weights, ups, up.encoding, downs, down.encoding] as const),
            ...(['clamped', true, limit, upBias, downBias] as const),
          )
        const y = kernel(places, turned(up), turned(down))
        expectClose(y, kernel(indices, up.rows, down.rows), 0)
        const matrix = ({ rows, encoding }: EncodedRows, expert: number, outputs: number): Tensor =>
          encodedRows(rows.select(0, expert), encoding, arange(0, outputs)).to('f64')
        const wanted = zerosLike(x).to('f64')
        const chosen = indices.toTypedArray<'i64'>()
        for (const [slot, expert] of [...chosen].map(Number).entries()) {
          if (expert < 0) continue
          const token = Math.floor(slot / choices)
          const both = matrix(up, expert, 2 * width)
            .matmul(x.select(0, token).to('f64'))
            .add(upBias.select(0, expert))
          const gate = both.narrow(0, 0, width).clamp(null, limit)
          const hidden = both
            .narrow(0, width, width)
            .clamp(-limit, limit)
            .add(1)
            .mul(gate)
            .mul(gate.mul(1.702).sigmoid())
          const out = matrix(down, expert, model).matmul(hidden).add(downBias.select(0, expert))
          wanted.select(0, token).add_(out.mul(weights.view([-1]).select(0, slot).item()))
        }
        // Biases count among y's numbers, and lose nothing.
        expect(relativeError(y, wanted)).toBeLessThan(4 * allowed(type))
      }),
    )
  },
)

// Sums of integers are exact, and all others are taken in one order everywhere.
describe.each([...panelTypes, ...numbers, 'Q5_K', 'IQ4_NL'])('products with %s', type => {
  test('give the same bits by all instructions, alone and among others', () => {
    noGrad(() =>
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 40 }),
          fc.integer({ min: 1, max: 40 }),
          fc.constantFrom(...(numbers.includes(type) ? [1, 250, 1287] : [256, 1280])),
          (outputs, count, columns) =>
            tidy(() => {
              const { rows, encoding } = stored(randn([outputs, columns], { seed: 1 }), type)
              const x = randn([count, columns], { seed: 2 })
              const results = levels.map(level => {
                chooseSimd(level)
                return encodedLinear(x, rows, encoding, outputs)
              })
              const [first, ...others] = results as [Tensor, ...Tensor[]]
              for (const other of others) expect(other.equal(first)).toBe(true)
              const last = x.narrow(0, count - 1, 1)
              expect(encodedLinear(last, rows, encoding, outputs).equal(first.narrow(0, count - 1, 1))).toBe(
                true,
              )
            }),
        ),
        { numRuns: 30 },
      ),
    )
  })

  test('give the same bits by all instructions for experts of many tokens', () => {
    noGrad(() =>
      tidy(() => {
        const up = stored(randn([3, 512, 256], { seed: 1 }), type)
        const down = stored(randn([3, 256, 256], { seed: 2 }), type)
        const x = randn([70, 256], { seed: 3 })
        const indices = randint(-1, 3, [70, 2], { seed: 4 })
        const weights = randn([70, 2], { seed: 5 })
        const results = levels.map(level => {
          chooseSimd(level)
          return encodedExperts(
            ...([x, indices, indices, weights, up.rows, up.encoding, down.rows, down.encoding] as const),
            ...(['silu', true, 0] as const),
          )
        })
        for (const other of results) expect(other.equal(results[0] as Tensor)).toBe(true)
      }),
    )
  })
})

describe.each(panelTypes)('panels of %s', type => {
  test('are their rows in another order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 3 }), (outputs, blocks) =>
        tidy(() => {
          const rows = encoded(randn([outputs, 256 * blocks], { seed: 1 }), type)
          const panels = inPanels({ rows, encoding: type })
          expect(panels.rows.shape).toEqual([16 * Math.ceil(outputs / 16), rows.size(1)])
          const again = encodedRows(panels.rows, panels.encoding, arange(0, outputs))
          expect(again.equal(decoded(rows, type))).toBe(true)
          // The same into the second half of other matrices.
          const whole = zeros([2, 2 * panels.rows.size(0), rows.size(1)], { dtype: 'u8' })
          const second = whole.narrow(1, panels.rows.size(0), panels.rows.size(0))
          encodedPanels(rows.expand([2, outputs, rows.size(1)]), type, second)
          for (const matrix of [0, 1]) expect(second.select(0, matrix).equal(panels.rows)).toBe(true)
          expect(whole.narrow(1, 0, panels.rows.size(0)).eq(0).all().item()).toBe(1)
        }),
      ),
    )
  })

  test('take any bytes for weights, the largest too', () => {
    noGrad(() =>
      tidy(() => {
        const blockBytes = encoded(randn([1, 256], { seed: 1 }), type).size(1)
        const rows = randint(0, 256, [16, blockBytes], { seed: 3 }).to('u8')
        const { rows: panels, encoding } = inPanels({ rows, encoding: type })
        const x = randn([3, 256], { seed: 2 })
        const bits = levels.map(level => {
          chooseSimd(level)
          return encodedLinear(x, panels, encoding, 16).viewDtype('i32').tolist()
        })
        for (const other of bits) expect(other).toEqual(bits[0])
      }),
    )
  })
})

test('what is not finite shows', () => {
  noGrad(() =>
    tidy(() => {
      const { rows, encoding } = stored(randn([3, 64], { seed: 1 }), 'Q8_0')
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const x = randn([2, 64], { seed: 2 })
        x.select(0, 1).narrow(0, 40, 1).fill_(bad)
        const y = encodedLinear(x, rows, encoding, 3)
        expect(y.select(0, 0).isfinite().all().item()).toBe(1)
        expect(y.select(0, 1).isnan().all().item()).toBe(1)
      }
      const zero = encodedLinear(randn([1, 64], { seed: 2 }).mul(0), rows, encoding, 3)
      expect(zero.abs().sum().item()).toBe(0)
    }),
  )
})

test('what does not fit is refused in words', () => {
  const rows = encoded(randn([3, 64], { seed: 1 }), 'Q8_0')
  const x = randn([2, 64], { seed: 2 })
  expect(() => encodedLinear(x, rows, 'Q9_9', 3)).toThrow("there are no rows of type 'Q9_9'")
  expect(() => encodedLinear(x, rows, 'Q4_0', 3)).toThrow('encoded rows of 68 bytes are not 64 values')
  expect(() => encodedLinear(x, rows, 'Q8_0', 4)).toThrow('encoded weights of 3 rows are not for 4 outputs')
  expect(() => encodedLinear(x, rows, 'Q8_0x16', 3)).toThrow(
    'encoded weights of 3 rows are not for 3 outputs',
  )
  expect(() => encodedLinear(x.requiresGrad_(), rows, 'Q8_0', 3)).toThrow('encoded weights have no gradient')
  expect(() => encodedRows(rows, 'Q8_0', tensor([3]).to('i64'))).toThrow('index 3 is outside of 3 rows')
  expect(() => encodedPanels(rows, 'Q5_1', rows)).toThrow("there are no panels of type 'Q5_1'")
  expect(() => chooseSimd('mmx')).toThrow("this processor has no 'mmx': SWITCHYARD_SIMD is one of portable")
})
