import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { four, identity } from '../../../tests/support/router-examples.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { eye, randn, tensor } from '../../torch/index.ts'
import {
  type AssignmentProblem,
  assignmentScore,
  auctionAssignment,
  BaseRouter,
  countPerExpert,
  exactAssignment,
} from '../index.ts'

describe('balanced assignment', () => {
  const problems = fc
    .record({ tokens: fc.integer({ min: 1, max: 12 }), experts: fc.integer({ min: 1, max: 4 }) })
    .chain(({ tokens, experts }) =>
      fc.record({
        tokens: fc.constant(tokens),
        experts: fc.constant(experts),
        scores: fc
          .array(fc.double({ min: -3, max: 3, noNaN: true }), {
            minLength: tokens * experts,
            maxLength: tokens * experts,
          })
          .map(values => Float64Array.from(values)),
      }),
    )

  const counts = ({ tokens, experts }: AssignmentProblem, owner: Int32Array): number[] => {
    expect(owner.length).toBe(tokens)
    return Array.from({ length: experts }, (_, e) => owner.filter(o => o === e).length)
  }

  /** The best of all assignments with these counts. */
  function bruteForce(problem: AssignmentProblem, shares: number[]): number {
    const { scores, tokens, experts } = problem
    const best = (t: number, room: number[]): number => {
      if (t === tokens) return 0
      let most = Number.NEGATIVE_INFINITY
      for (let e = 0; e < experts; e++) {
        if ((room[e] ?? 0) === 0) continue
        const rest = room.map((r, i) => (i === e ? r - 1 : r))
        most = Math.max(most, (scores[t * experts + e] ?? 0) + best(t + 1, rest))
      }
      return most
    }
    return best(0, shares)
  }

  test('property: the exact solver is exact', () => {
    fc.assert(
      fc.property(
        problems.filter(({ tokens }) => tokens <= 8),
        problem => {
          const owner = exactAssignment(problem)
          const shares = counts(problem, owner)
          expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1)
          expect(assignmentScore(problem, owner)).toBeCloseTo(bruteForce(problem, shares), 9)
        },
      ),
      { numRuns: 60 },
    )
  })

  test('property: the auction is balanced, and within T eps of the optimum', () => {
    fc.assert(
      fc.property(problems, problem => {
        const owner = auctionAssignment(problem)
        expect(counts(problem, owner)).toEqual(counts(problem, exactAssignment(problem)))
        const { scores, tokens } = problem
        const eps = Math.max(1e-4, (Math.max(...scores) - Math.min(...scores)) / 50)
        const lost = assignmentScore(problem, exactAssignment(problem)) - assignmentScore(problem, owner)
        expect(lost).toBeGreaterThan(-1e-9)
        expect(lost).toBeLessThanOrEqual(tokens * eps + 1e-9)
      }),
    )
  })

  test('scores that are not finite do no harm', () => {
    const scores = Float64Array.from([
      Number.NaN,
      1,
      Number.NEGATIVE_INFINITY,
      2,
      0,
      Number.POSITIVE_INFINITY,
    ])
    expect(
      counts({ scores, tokens: 3, experts: 2 }, auctionAssignment({ scores, tokens: 3, experts: 2 })),
    ).toEqual([2, 1])
  })

  test('BASE balances in training, and takes the best expert in evaluation', () => {
    const router = identity(new BaseRouter(four))
    const skewed = randn([40, 4], { dtype: 'f64', seed: 1 }).add(tensor([3, 0, 0, 0], { dtype: 'f64' }))
    expect(countPerExpert(router.train().forward(skewed))).toEqual([10, 10, 10, 10])
    expect(router.eval().forward(skewed).indices.squeeze(-1).tolist()).toEqual(skewed.argmax(-1).tolist())
  })

  test('its centroids start at right angles', () => {
    const { weight } = new BaseRouter({ hiddenSize: 8, numExperts: 5 }).to('f64')
    expectClose(weight.matmul(weight.t()), eye(5).mul(0.01), 1e-7)
  })
})
