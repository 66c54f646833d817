// What the classics show: experts find regions of their own, or do not, by the error that they learn from.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Linear } from '../../nn/index.ts'
import { cat, manualSeed, noGrad, randn, type Tensor, tensor, tidy } from '../../torch/index.ts'
import { MixtureLayer } from './deep-mixture.ts'
import { HierarchicalMixture } from './hierarchical-mixture.ts'
import { GaussianGate, KernelRidgeExpert } from './kernel-ridge.ts'
import {
  competitiveError,
  cooperativeError,
  LocalExperts,
  logMixtureError,
  type MixtureOutput,
  posterior,
  SoftmaxGate,
} from './mixture.ts'

/** Two clusters of inputs, in each of which the output is another linear function. */
function twoRegions(samples: number, seed: number): { x: Tensor; y: Tensor } {
  const half = (centre: number, slope: number, from: number): { x: Tensor; y: Tensor } => {
    const x = randn([samples / 2, 1], { seed: from, dtype: 'f64' })
      .mul(0.3)
      .add(centre)
    return { x, y: x.mul(slope) }
  }
  const [left, right] = [half(-1, 2, seed), half(1, -2, seed + 1)]
  return { x: cat([left.x, right.x]), y: cat([left.y, right.y]) }
}

/** Gradient descent on a mixture of linear experts. */
function learned(
  error: (output: MixtureOutput, wanted: Tensor) => Tensor,
  experts: number,
  steps = 600,
): LocalExperts {
  manualSeed(3)
  const mixture = new LocalExperts(
    Array.from({ length: experts }, () => new Linear(1, 1)),
    new SoftmaxGate(1, experts),
  ).to('f64')
  const { x, y } = twoRegions(64, 1)
  for (let step = 0; step < steps; step++)
    tidy(() => {
      mixture.zeroGrad()
      error(mixture.forward(x), y).backward()
      noGrad(() => {
        for (const parameter of mixture.parameters()) if (parameter.grad) parameter.sub_(parameter.grad, 0.1)
      })
    })
  return mixture
}

/** Mean entropy of the gate, in nats: 0 where every sample has an expert of its own. */
const gateEntropy = (mixture: LocalExperts, x: Tensor): number =>
  noGrad(() => {
    const logShares = mixture.gate.logShares(x)
    return logShares.exp().mul(logShares).sum([-1]).neg().mean().item()
  })

describe('local experts', () => {
  const random = (seed: number, experts = 3): { output: MixtureOutput; wanted: Tensor } => {
    const logits = randn([5, experts], { seed, dtype: 'f64', requiresGrad: true })
    const outputs = randn([5, experts, 2], { seed: seed + 1, dtype: 'f64', requiresGrad: true })
    return {
      output: { outputs, logShares: logits.logSoftmax(-1) },
      wanted: randn([5, 2], { seed: seed + 2, dtype: 'f64' }),
    }
  }

  test('the gradients are those of the paper', () => {
    tidy(() => {
      const logits = randn([4, 3], { seed: 1, dtype: 'f64', requiresGrad: true })
      const outputs = randn([4, 3, 2], { seed: 2, dtype: 'f64', requiresGrad: true })
      const wanted = randn([4, 2], { seed: 3, dtype: 'f64' })
      const output = { outputs, logShares: logits.logSoftmax(-1) }
      logMixtureError(output, wanted).backward()
      const [h, p] = noGrad(() => [posterior(output, wanted), output.logShares.exp()]) as [Tensor, Tensor]
      expect(h.sum([-1]).sub(1).abs().max().item()).toBeLessThan(1e-14)
      // dE / do_i = -h_i (d - o_i), dE / dz_i = p_i - h_i, of the mean over four samples
      const direct = noGrad(() => wanted.unsqueeze(1).sub(outputs).mul(h.unsqueeze(-1)).div(-4))
      expect(outputs.grad?.sub(direct).abs().max().item()).toBeLessThan(1e-14)
      expect(logits.grad?.sub(p.sub(h).div(4)).abs().max().item()).toBeLessThan(1e-14)
    })
  })

  test('one expert alone is least squares', () => {
    tidy(() => {
      const { output, wanted } = random(7, 1)
      const squares = wanted.sub(output.outputs.select(1, 0)).square().sum([-1]).mean().item()
      expect(logMixtureError(output, wanted).item()).toBeCloseTo(squares / 2, 14)
      expect(cooperativeError(output, wanted).item()).toBeCloseTo(squares, 14)
      expect(competitiveError(output, wanted).item()).toBeCloseTo(squares, 14)
    })
  })

  test('the order of experts is of no account', () => {
    const errors = [cooperativeError, competitiveError, logMixtureError]
    fc.assert(
      fc.property(fc.nat({ max: 1000 }), fc.constantFrom(...errors), (seed, error) =>
        tidy(() => {
          const { output, wanted } = random(seed)
          const order = tensor([2n, 0n, 1n])
          const other = {
            outputs: output.outputs.indexSelect(1, order),
            logShares: output.logShares.indexSelect(1, order),
          }
          expect(error(other, wanted).item()).toBeCloseTo(error(output, wanted).item(), 12)
        }),
      ),
      { numRuns: 30 },
    )
  })

  test('by the mixture each cluster gets an expert; by the cooperative error they share', () => {
    tidy(() => {
      const { x, y } = twoRegions(64, 11)
      const width = 0.3
      const mixture = learned((output, wanted) => logMixtureError(output, wanted, width), 2)
      expect(gateEntropy(mixture, x)).toBeLessThan(0.1)
      const first = noGrad(() => mixture.gate.logShares(x).argmax(-1))
      const [left, right] = [first.narrow(0, 0, 32), first.narrow(0, 32, 32)].map(half =>
        half.to('f64').mean().item(),
      )
      expect([left, right].sort()).toEqual([0, 1])
      expect(noGrad(() => mixture.predict(x).sub(y).square().mean().item())).toBeLessThan(0.01)
      expect(gateEntropy(learned(cooperativeError, 2), x)).toBeGreaterThan(0.2)
    })
  })
})

describe('a hierarchical mixture', () => {
  const make = (branches: number, experts: number): HierarchicalMixture =>
    new HierarchicalMixture({ inputs: 1, outputs: 1, branches, experts })

  test('shares add up to 1', () => {
    tidy(() => {
      const shares = make(3, 2)
        .logShares(randn([7, 1], { seed: 1, dtype: 'f64' }))
        .exp()
      expect(shares.sum([1, 2]).sub(1).abs().max().item()).toBeLessThan(1e-14)
    })
  })

  test('no round of expectation and maximization lowers its likelihood, and it finds the regions', () => {
    tidy(() => {
      const { x, y } = twoRegions(64, 5)
      const noisy = y.add(randn(y.shape, { seed: 9, dtype: 'f64' }).mul(0.1))
      const mixture = make(2, 2)
      const likelihoods = Array.from({ length: 30 }, () => {
        mixture.learn(x, noisy)
        return mixture.logLikelihood(x, noisy).item()
      })
      // Sums of 64 logarithms are rounded to some 1e-15 of their size.
      for (const [i, value] of likelihoods.slice(1).entries())
        expect(value).toBeGreaterThan((likelihoods[i] ?? 0) - 1e-12)
      expect(Math.sqrt(mixture.variance.item())).toBeLessThan(0.15)
      expect(mixture.predict(x).sub(y).square().mean().item()).toBeLessThan(0.02)
    })
  })

  test('stays finite where it hits every sample', () => {
    tidy(() => {
      const { x, y } = twoRegions(64, 5)
      const mixture = make(2, 2)
      for (let round = 0; round < 60; round++) mixture.learn(x, y)
      expect(mixture.logLikelihood(x, y).item()).toBeLessThan(Number.POSITIVE_INFINITY)
      expect([...mixture.stateDict().keys()]).toContain('variance')
    })
  })

  test('of one branch is a flat mixture', () => {
    tidy(() => {
      const mixture = make(1, 3)
      const x = randn([5, 1], { seed: 2, dtype: 'f64' })
      const flat = noGrad(() =>
        cat([x, x.mul(0).add(1)], 1)
          .matmul(mixture.gates.select(0, 0).t())
          .softmax(-1),
      )
      expect(mixture.logShares(x).exp().select(1, 0).sub(flat).abs().max().item()).toBeLessThan(1e-14)
    })
  })

  test('learns by gradients as well', () => {
    tidy(() => {
      const { x, y } = twoRegions(64, 5)
      const mixture = make(2, 1)
      const start = mixture.logLikelihood(x, y).item()
      for (let step = 0; step < 100; step++)
        tidy(() => {
          mixture.zeroGrad()
          mixture.logLikelihood(x, y).backward()
          noGrad(() => {
            for (const parameter of mixture.parameters())
              if (parameter.grad) parameter.add_(parameter.grad, 0.5)
          })
        })
      expect(mixture.logLikelihood(x, y).item()).toBeGreaterThan(start + 0.3)
    })
  })
})

describe('a deep mixture', () => {
  const layer = (margin: number | null): MixtureLayer => {
    manualSeed(4)
    return new MixtureLayer({ inputs: 4, outputs: 8, experts: 3, gateWidth: 6, margin })
  }

  test('no expert is given more than the mean by the margin and a batch', () => {
    tidy(() => {
      const mixture = layer(2)
      noGrad(() => mixture.gate.bias?.copy_(tensor([5, 0, 0]))) // the first would take it all
      for (let step = 0; step < 40; step++) mixture.forward(randn([4, 4], { seed: step }))
      const given = mixture.given.tolist() as number[]
      const mean = given.reduce((sum, value) => sum + value, 0) / 3
      expect(given.reduce((sum, value) => sum + value, 0)).toBeCloseTo(160, 3)
      expect(Math.max(...given) - mean).toBeLessThanOrEqual(2 + 4)
      const free = layer(null)
      noGrad(() => free.gate.bias?.copy_(tensor([5, 0, 0])))
      const { shares } = free.forward(randn([64, 4], { seed: 1 }))
      expect(shares.mean([0]).max().item()).toBeGreaterThan(0.9)
    })
  })

  test('two layers take as many paths as there are pairs of experts', () => {
    tidy(() => {
      manualSeed(8)
      const sizes = { experts: 2, gateWidth: 8, margin: null }
      const [first, second] = [
        new MixtureLayer({ inputs: 4, outputs: 6, ...sizes }),
        new MixtureLayer({ inputs: 6, outputs: 3, ...sizes }),
      ]
      noGrad(() => {
        for (const { hidden, gate } of [first, second]) {
          hidden.weight.mul_(6)
          gate.weight.mul_(10)
        }
      })
      const x = randn([400, 4], { seed: 3 })
      const { z, shares } = first.forward(x)
      const { shares: next } = second.forward(z.sub(z.mean([0])).mul(8))
      const paths = shares.argmax(-1).mul(2).add(next.argmax(-1)).tolist() as number[]
      expect(new Set(paths).size).toBe(4)
    })
  })
})

describe('experts of whole models', () => {
  const options = { length: 0.5, ridge: 1e-6 }

  test('ridge regression with a kernel passes through its samples; behind a gate of one it is itself', () => {
    tidy(() => {
      const x = tensor([[-1], [-0.4], [0.1], [0.7]], { dtype: 'f64' })
      const y = x.mul(3).sin()
      const expert = new KernelRidgeExpert(x, y, options)
      expect(expert.forward(x).sub(y).abs().max().item()).toBeLessThan(1e-4)
      const alone = new LocalExperts([expert], new GaussianGate([x]))
      expect(alone.predict(x).equal(expert.forward(x))).toBe(true)
    })
  })

  test('a Gaussian gate sends inputs to the expert among whose they lie', () => {
    tidy(() => {
      const { x, y } = twoRegions(64, 21)
      const parts = [0, 32].map(start => ({ x: x.narrow(0, start, 32), y: y.narrow(0, start, 32) }))
      const experts = parts.map(part => new KernelRidgeExpert(part.x, part.y, { ...options, ridge: 1e-3 }))
      const mixture = new LocalExperts(experts, new GaussianGate(parts.map(part => part.x)))
      expect(gateEntropy(mixture, x)).toBeLessThan(0.05)
      expect(mixture.predict(x).sub(y).square().mean().item()).toBeLessThan(0.01)
    })
  })
})
