// Every router that a decoder can use, on the same text and the same budget: recipes/router-shootout.yaml, once each.
//   usage: router-shootout.ts [STEPS [NAME ...]]

import { writeFileSync } from 'node:fs'
import { isCorpus } from '../src/data/index.ts'
import { evaluate, loadRecipe, Trainer } from '../src/train/index.ts'
import { report, resultFile } from './support/report.ts'
import { spreadOf } from './support/routing-report.ts'
import { scatter } from './support/scatter.ts'

const unbalanced = ['losses.balance=none', 'losses.z=0']

/** Overrides of the recipe. */
const contestants: Record<string, string[]> = {
  'top-2, no balancing': unbalanced,
  'top-2, Switch loss': [],
  'top-2, HF loss': ['losses.balance={kind: mixtral-hf, coefficient: 0.01}'],
  'top-2, HF loss x 10': ['losses.balance={kind: mixtral-hf, coefficient: 0.1}'],
  'top-2, Switch loss per sequence': ['losses.balance={kind: switch, scope: sequence}'],
  'top-1, no balancing': ['router={kind: top-k, k: 1, normalize: false}', ...unbalanced],
  'Switch top-1': ['router={kind: top-k, k: 1, normalize: false, jitter: 0.01}'],
  'Switch top-1, capacity 1.25': [
    'router={kind: top-k, k: 1, normalize: false, jitter: 0.01}',
    'dispatch={kind: capacity, factor: 1.25, evalFactor: 2}',
  ],
  'GShard top-2, random second': ['router={kind: top-2, policy: random}', 'losses.balance=gshard'],
  'noisy top-2': ['router={kind: noisy-top-k, k: 2}', 'losses.balance=none'],
  'sigmoid top-2, bias': ['router={kind: biased-top-k, k: 2, biasRate: 0.01}', 'losses.balance=none'],
  'sigmoid top-2, bias, slow router': [
    'router={kind: biased-top-k, k: 2, biasRate: 0.01}',
    'losses.balance=none',
    'optimizer.groups.router.scale=1',
  ],
  'sigmoid top-2, no bias, slow router': [
    'router={kind: biased-top-k, k: 2, biasRate: 0}',
    ...unbalanced,
    'optimizer.groups.router.scale=1',
  ],
  'sigmoid top-2, no bias': ['router={kind: biased-top-k, k: 2, biasRate: 0}', ...unbalanced],
  'top-p 0.4': ['router={kind: top-p, threshold: 0.4}'],
  'null experts, 4 of 64': ['router={kind: null-experts, k: 4}', 'losses.balance=none'],
  cosine: ['router={kind: cosine, k: 2, routingSize: 16, temperature: 0.3}'],
  'hierarchical 8 x 4': ['router={kind: hierarchical, groups: 8, topGroups: 2, k: 1}'],
  'Sinkhorn top-1': ['router={kind: sinkhorn, k: 1}', 'losses.balance=none'],
  BASE: ['router={kind: base}', 'losses.balance=none'],
  hash: ['router={kind: hash}', ...unbalanced],
  words: ['router={kind: words}', ...unbalanced],
  centroids: ['router={kind: centroids}', ...unbalanced],
  'tasks, top-2': ['router={kind: task, k: 2}'],
  REINFORCE: ['router={kind: reinforce}'],
}

const [steps = '400', ...wanted] = process.argv.slice(2)
const names = Object.keys(contestants).filter(name => wanted.length === 0 || wanted.includes(name))

interface Outcome {
  loss: number
  domains: Record<string, number>
  maxViolation: number
  dead: number
  dropped: number
  specialisation: number
  perToken: number
  tokensPerSecond: number
}

async function run(overrides: readonly string[]): Promise<Outcome> {
  const recipe = loadRecipe('recipes/router-shootout.yaml', [`steps=${steps}`, ...overrides])
  const trainer = new Trainer(recipe)
  const start = performance.now()
  let dropped = 0
  for (let step = 1; step <= recipe.steps; step++) {
    const { routing = [] } = trainer.step(step === recipe.steps)
    if (routing.length > 0) dropped = routing.reduce((sum, layer) => sum + layer.dropped, 0) / routing.length
  }
  const seconds = (performance.now() - start) / 1e3
  if (!trainer.validation)
    throw new Error(`${recipe.data.path} holds no validation text: prepare it with --validation`)
  const { batchSize } = recipe.data
  const domains = trainer.corpus.domains
  const result = await evaluate(trainer.model, trainer.validation, { domains, batchSize, batches: null })
  const outcome = {
    loss: result.loss,
    domains: Object.fromEntries(result.domains.map(({ name, loss }) => [name, loss])),
    ...spreadOf(result.expertLoad, result.tokens),
    dropped,
    tokensPerSecond: trainer.state.tokens / seconds,
  }
  trainer.dispose()
  return outcome
}

const { path } = loadRecipe('recipes/router-shootout.yaml').data
if (!isCorpus(path))
  throw new Error(`${path} is missing: recipes/router-shootout.yaml says how to prepare it`)

const outcomes: Record<string, Outcome> = {}
for (const name of names) {
  outcomes[name] = await run(contestants[name] ?? [])
  const { loss, maxViolation, dead } = outcomes[name]
  console.error(`${name}: loss ${loss.toFixed(3)}, MaxVio ${maxViolation.toFixed(2)}, dead ${dead}`)
}

const experts = 2 * 32
report({
  name: 'router-shootout',
  setting: { recipe: 'recipes/router-shootout.yaml', steps: Number(steps), contestants },
  rows: [
    [
      'router',
      'loss',
      'MaxVio',
      `dead of ${experts}`,
      'dropped',
      'domain known',
      'experts per token',
      'tokens/s',
    ],
    ...Object.entries(outcomes).map(([name, outcome]) => [
      name,
      outcome.loss.toFixed(3),
      outcome.maxViolation.toFixed(2),
      String(outcome.dead),
      `${(100 * outcome.dropped).toFixed(1)}%`,
      `${(100 * outcome.specialisation).toFixed(0)}%`,
      outcome.perToken.toFixed(2),
      outcome.tokensPerSecond.toFixed(0),
    ]),
  ],
  notes: [
    'loss: validation, nats per token. MaxVio: heaviest load over the mean, minus one, of the worst layer.',
    "dead: under 1% of the mean load. domain known: how much of a token's domain its expert tells.",
  ],
  data: outcomes,
})
const plot = resultFile('router-shootout', 'svg')
const points = Object.entries(outcomes).map(([label, { maxViolation: x, loss: y }]) => ({
  label,
  x: Math.max(x, 0.01),
  y,
}))
writeFileSync(
  plot,
  scatter(points, {
    title: 'Routers on the same text and budget',
    x: 'MaxVio: heaviest load over the mean, minus one (log scale)',
    y: 'validation loss, nats per token',
  }),
)
console.log(`plot: ${plot.pathname}`)
