import { describe, expect, test } from 'vitest'
import { four, identity, z } from '../../../tests/support/router-examples.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { manualSeed, noGrad, randint, randn, type Tensor, tensor, tidy, zeros } from '../../torch/index.ts'
import { ReinforceRouter, reinforceLoss } from '../index.ts'
import { reinforce } from './reinforce.ts'

describe('REINFORCE', () => {
  test('averaged over all choices, its gradient is that of the expected reward; a baseline changes nothing', () => {
    const router = identity(new ReinforceRouter(four))
    const reward = tensor([1, -2, 0.5, 3], { dtype: 'f64' }) // of each expert, the same for every token
    const exact = (): Tensor => {
      router.zeroGrad()
      const probs = router.forward(z).probs
      probs.matmul(reward).mean().neg().backward()
      return router.weight.grad?.clone() as Tensor
    }
    const estimated = (baseline: Tensor): Tensor => {
      router.zeroGrad()
      for (let e = 0; e < 4; e++) {
        // Every token chooses e, which has the probability that weighs this term.
        const routing = router.forward(z)
        const indices = zeros([3, 1], { dtype: 'i64' }).add(e)
        const weighed = reward.select(0, e).expand([3]).sub(baseline).mul(routing.probs.select(1, e).detach())
        const options = { baseline: zeros([], { dtype: 'f64' }), entropy: 0 }
        reinforceLoss({ ...routing, indices }, weighed, options).backward()
      }
      return router.weight.grad?.clone() as Tensor
    }
    expectClose(estimated(zeros([3], { dtype: 'f64' })), exact(), 1e-9)
    expectClose(estimated(tensor([0.7, -3, 2], { dtype: 'f64' })), exact(), 1e-9)
  })

  test('what is expected of a token is learnt, and takes the noise of its difficulty away', () => {
    manualSeed(2)
    const router = new ReinforceRouter({ hiddenSize: 3, numExperts: 3 })
    const x = randn([64, 3], { seed: 1 })
    const difficulty = x.matmul(tensor([2, -1, 0.5])).add(4) // [T]
    for (let step = 0; step < 200; step++)
      tidy(() => {
        router.zeroGrad()
        const routing = router.forward(x)
        reinforce.taught?.value?.(routing, difficulty).backward()
        expect(router.weight.grad).toBeNull() // only the baseline learns from it
        noGrad(() => {
          for (const parameter of [router.value_weight, router.value_bias])
            parameter.sub_(parameter.grad as Tensor, 0.2)
        })
      })
    expectClose(router.forward(x).value as Tensor, difficulty.neg(), 1e-3) // what 200 steps leave of 4: 4 * 0.6^200 and less
  })

  test('normalized, a policy learns as fast from small rewards as from large ones', () => {
    const router = identity(new ReinforceRouter(four))
    const rewards = tensor([1, -2, 0.5], { dtype: 'f64' })
    const learnt = (scale: number): Tensor => {
      manualSeed(1)
      router.zeroGrad()
      const routing = router.forward(z)
      reinforceLoss(routing, rewards.mul(scale), { normalized: true, entropy: 0 }).backward()
      return router.weight.grad?.clone() as Tensor
    }
    expectClose(learnt(1e-3), learnt(10), 1e-12)
  })

  test('a bandit with a best arm per context finds it', () => {
    manualSeed(1)
    const router = new ReinforceRouter({ hiddenSize: 3, numExperts: 3 })
    const contexts = tensor([
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ])
    const best = tensor([2n, 0n, 1n])
    for (let step = 0; step < 300; step++) {
      tidy(() => {
        const which = randint(0, 3, [32])
        const routing = router.forward(contexts.indexSelect(0, which))
        const rewards = routing.indices.squeeze(-1).eq(best.indexSelect(0, which)).float()
        router.zeroGrad()
        reinforceLoss(routing, rewards).backward()
        noGrad(() => router.weight.sub_(router.weight.grad as Tensor))
      })
    }
    const probs = router.eval().forward(contexts).probs.gather(-1, best.unsqueeze(-1))
    expect(probs.min().item()).toBeGreaterThan(0.95)
  })
})
