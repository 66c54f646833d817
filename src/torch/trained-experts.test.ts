// Experts of which some matrices are frozen: no gradient of theirs is computed, and the others are what they were.
import { expect, test } from 'vitest'
import { callOperator, fusedExperts, randint, randn, type Tensor, tidy } from './index.ts'

type Experts = typeof fusedExperts

const grouped: Experts = (...args) => callOperator('switchyard::experts_grouped', ...args) as Tensor

test.each<[string, Experts, boolean, boolean]>(
  ([fusedExperts, grouped] as const).flatMap((run, i) =>
    [true, false].flatMap(up =>
      [true, false].map((down): [string, Experts, boolean, boolean] => [
        `${i === 0 ? 'on the CPU' : 'by grouped products'}, up ${up}, down ${down}`,
        run,
        up,
        down,
      ]),
    ),
  ),
)('%s', (_, experts, trainsUp, trainsDown) => {
  const gradients = (up: boolean, down: boolean): (Tensor | null)[] => {
    const x = randn([40, 16], { seed: 1, requiresGrad: true })
    const weights = randn([40, 2], { seed: 4, requiresGrad: true })
    const upProjection = randn([4, 24, 16], { seed: 2, requiresGrad: up })
    const downProjection = randn([4, 16, 12], { seed: 3, requiresGrad: down })
    const indices = randint(0, 4, [40, 2], { seed: 5 })
    experts(x, indices, weights, upProjection, downProjection, 'silu', true).square().sum().backward()
    return [x, weights, upProjection, downProjection].map(({ grad }) => grad)
  }
  tidy(() => {
    const [all, some] = [gradients(true, true), gradients(trainsUp, trainsDown)]
    const isWanted = [true, true, trainsUp, trainsDown]
    for (const [i, gradient] of some.entries()) {
      if (isWanted[i]) expect(gradient?.equal(all[i] as Tensor)).toBe(true)
      else expect(gradient).toBeNull()
    }
  })
})
