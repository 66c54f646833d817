// The mixtures before transformers, and what each paper shows: on two clusters of inputs, each with a line of its own.
//   run: npx tsx examples/classics.ts

import { Linear, manualSeed, noGrad, randn, tidy } from 'switchyard'
import {
  competitiveError,
  cooperativeError,
  HierarchicalMixture,
  LocalExperts,
  logMixtureError,
  SoftmaxGate,
} from 'switchyard/moe'
import { cat, type Tensor } from 'switchyard/torch'

const [left, right] = [-1, 1].map((centre, i) =>
  randn([64, 1], { seed: i, dtype: 'f64' }).mul(0.3).add(centre),
)
const x = cat([left as Tensor, right as Tensor]) // [128, 1]
const y = x
  .abs()
  .mul(-2)
  .add(randn(x.shape, { seed: 2, dtype: 'f64' }).mul(0.1))

// Jacobs, Jordan, Nowlan and Hinton, 1991: which error the experts learn from decides whether each finds a region of its own.
const errors = {
  'cooperative ': cooperativeError,
  'competitive ': competitiveError,
  'log-mixture ': (...args: Parameters<typeof cooperativeError>) => logMixtureError(...args, 0.3),
}
for (const [name, error] of Object.entries(errors)) {
  manualSeed(3)
  const experts = [new Linear(1, 1), new Linear(1, 1)]
  const mixture = new LocalExperts(experts, new SoftmaxGate(1, 2)).to('f64')
  for (let step = 0; step < 600; step++)
    tidy(() => {
      mixture.zeroGrad()
      error(mixture.forward(x), y).backward()
      noGrad(() => {
        for (const parameter of mixture.parameters()) if (parameter.grad) parameter.sub_(parameter.grad, 0.1)
      })
    })
  noGrad(() =>
    tidy(() => {
      const shares = mixture.gate.logShares(x).exp()
      const certain = shares.max(-1)[0].mean().item()
      const slopes = experts.map(({ weight }) => weight.item().toFixed(2)).join(' and ')
      const wrong = mixture.predict(x).sub(y).square().mean().item()
      console.log(
        `${name} the gate is ${(100 * certain).toFixed(0)}% sure, slopes ${slopes}, squared error ${wrong.toFixed(3)}`,
      )
    }),
  )
}

// Jordan and Jacobs, 1994: rounds of expectation and maximization, none of which lowers the likelihood.
const tree = new HierarchicalMixture({ inputs: 1, outputs: 1, branches: 2, experts: 2 })
for (let round = 0; round <= 20; round++) {
  if (round % 5 === 0)
    console.log(`round ${round}: log-likelihood ${tree.logLikelihood(x, y).item().toFixed(4)}`)
  tree.learn(x, y)
}
console.log(`noise: ${Math.sqrt(tree.variance.item()).toFixed(3)} found, 0.1 put in`)
