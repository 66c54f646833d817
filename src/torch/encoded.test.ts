// Layers that compute from encoded weights, against the same weights decoded.
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../tests/support/tensors.ts'
import {
  arange,
  callOperator,
  encodedExperts,
  encodedLinear,
  encodedRows,
  fusedExperts,
  linear,
  noGrad,
  quantizeBlocks,
  randint,
  randn,
  type Tensor,
  tensor,
  tidy,
} from './index.ts'

const [, , , written] = callOperator('switchyard::block_types') as string[][]
const halves = ['BF16', 'F16']
/** Types of which products are taken in 8 bits on both sides. */
const quick = new Set(['Q8_0', 'Q4_0'])

/** Matrices of f32 as rows of a type: [..., I] -> u8 [..., bytes of a row]. */
function encoded(weights: Tensor, type: string): Tensor {
  const shape = weights.shape.slice(0, -1)
  if (halves.includes(type)) {
    const half = weights.to(type.toLowerCase() as 'bf16').contiguous()
    return half.viewDtype('u8').view([...shape, -1])
  }
  return quantizeBlocks(weights.flatten(), type).view([...shape, -1])
}

/** What is encoded, in f32. */
const decoded = (rows: Tensor, type: string): Tensor => encodedRows(rows, type, arange(0, rows.size(0)))

/** Mean squared error over mean square. */
function relativeError(actual: Tensor, wanted: Tensor): number {
  const [a, b] = [actual.to('f64'), wanted.to('f64')]
  return a.sub(b).square().sum().item() / b.square().sum().item()
}

/** 8 bits beside 8 or 4: what is lost of activations. Others lose the order of sums in f32. */
const allowed = (type: string): number => (quick.has(type) ? 5e-4 : 1e-11)

describe.each([...(written ?? []), ...halves])('%s', type => {
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
              const rows = encoded(randn([outputs, columns], { seed: 1 }), type)
              const x = randn([count, columns], { seed: 2 })
              const bias = randn([outputs], { seed: 3 })
              const y = encodedLinear(x, rows, type, bias)
              const wanted = linear(x.to('f64'), decoded(rows, type).to('f64'), bias.to('f64'))
              expect(y.shape).toEqual([count, outputs])
              if (count > 0) expect(relativeError(y, wanted)).toBeLessThan(allowed(type))
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
        const up = encoded(randn([count, gated ? 2 * width : width, model], { seed: 1 }).mul(0.06), type)
        const down = encoded(randn([count, model, width], { seed: 2 }).mul(0.04), type)
        const x = randn([tokens, model], { seed: 3 })
        const indices = randint(-1, count - 1, [tokens, choices], { seed: 4 }) // the last expert has none
        const weights = randn([tokens, choices], { seed: 5 })
        const y = encodedExperts(x, indices, weights, up, type, down, type, activation, gated)
        const whole = (rows: Tensor): Tensor =>
          decoded(rows.flatten(0, 1), type).view([count, rows.size(1), -1])
        const wanted = fusedExperts(x, indices, weights, whole(up), whole(down), activation, gated)
        expect(y.shape).toEqual([tokens, model])
        if (tokens > 0) expect(relativeError(y, wanted)).toBeLessThan(2 * allowed(type)) // twice through 8 bits
      }),
    )
  })
})

// Products of f32 by a library are summed as their number suits it, and so are many of these.
test.each([...quick])('%s: a token computes the same alone and among a few others', type => {
  noGrad(() =>
    tidy(() => {
      const rows = encoded(randn([40, 256], { seed: 1 }), type)
      const x = randn([30, 256], { seed: 2 })
      const together = encodedLinear(x, rows, type)
      expect(encodedLinear(x.narrow(0, 7, 1), rows, type).equal(together.narrow(0, 7, 1))).toBe(true)
    }),
  )
})

test('what is not finite shows', () => {
  noGrad(() =>
    tidy(() => {
      const rows = encoded(randn([3, 64], { seed: 1 }), 'Q8_0')
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const x = randn([2, 64], { seed: 2 })
        x.select(0, 1).narrow(0, 40, 1).fill_(bad)
        const y = encodedLinear(x, rows, 'Q8_0')
        expect(y.select(0, 0).isfinite().all().item()).toBe(1)
        expect(y.select(0, 1).isnan().all().item()).toBe(1)
      }
      const zero = encodedLinear(randn([1, 64], { seed: 2 }).mul(0), rows, 'Q8_0')
      expect(zero.abs().sum().item()).toBe(0)
    }),
  )
})

test('what does not fit is refused in words', () => {
  const rows = encoded(randn([3, 64], { seed: 1 }), 'Q8_0')
  const x = randn([2, 64], { seed: 2 })
  expect(() => encodedLinear(x, rows, 'Q9_9')).toThrow("there are no rows of type 'Q9_9'")
  expect(() => encodedLinear(x, rows, 'Q4_0')).toThrow('encoded rows of 68 bytes are not 64 values')
  expect(() => encodedLinear(x.requiresGrad_(), rows, 'Q8_0')).toThrow('encoded weights have no gradient')
  expect(() => encodedRows(rows, 'Q8_0', tensor([3]).to('i64'))).toThrow('index 3 is outside of 3 rows')
})

test('the portable form computes what the best one does', () => {
  const script = `
    import { encodedLinear, noGrad, quantizeBlocks, randn } from './src/torch/index.ts'
    noGrad(() => {
      const sums = ['Q8_0', 'Q4_0'].map(type => {
        const rows = quantizeBlocks(randn([5, 96], { seed: 1 }).flatten(), type).view([5, -1])
        return encodedLinear(randn([2, 96], { seed: 2 }), rows, type).tolist()
      })
      console.log(JSON.stringify(sums.flat(2)))
    })`
  const run = (env: NodeJS.ProcessEnv): number[] =>
    JSON.parse(
      execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
      }),
    )
  const [best, portable] = [run({}), run({ SWITCHYARD_SIMD: 'portable' })]
  expect(portable.length).toBe(20)
  // Integers are exact; three blocks of numbers of order ten are summed in another order.
  for (const [i, value] of portable.entries()) expect(Math.abs(value - (best[i] ?? 0))).toBeLessThan(1e-4)
})
