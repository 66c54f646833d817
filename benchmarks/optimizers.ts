// Optimizers on the demo's model and text: of three learning rates the best one under the first seed, then under all three, after as
// many tokens and after as much time as AdamW; and the optimizer's share of a step.
//   usage: optimizers.ts [STEPS [NAME ...]]

import { isCorpus } from '../src/data/index.ts'
import { evaluate, loadRecipe, Trainer } from '../src/train/index.ts'
import { report } from './support/report.ts'

const file = 'recipes/demo.yaml'
const [stepsText = '300', ...wanted] = process.argv.slice(2)
const steps = Number(stepsText)
const seeds = [1, 2, 3]

/** Learning rates of each, about the best one. */
const rates: Record<string, number[]> = {
  adamw: [2e-3, 4e-3, 8e-3],
  muon: [2e-3, 4e-3, 8e-3],
  adafactor: [4e-3, 8e-3, 16e-3],
  sgd: [0.1, 0.3, 1],
}
const kinds = Object.keys(rates).filter(
  kind => kind === 'adamw' || wanted.length === 0 || wanted.includes(kind),
)

interface Outcome {
  kind: string
  rate: number
  seed: number
  steps: number
  /** Of validation, at the end. */
  loss: number
  /** A step's time and the optimizer's part of it, medians in ms. */
  step: number
  update: number
}

async function run(kind: string, rate: number, seed: number, length: number): Promise<Outcome> {
  const warmup = Math.round(length / 12) // as the recipe has it
  const settings = [`seed=${seed}`, `steps=${length}`, `schedule.warmup=${warmup}`]
  const optimizer = `optimizer={kind: ${kind}, learningRate: ${rate}, weightDecay: ${kind === 'sgd' ? 0 : 0.1}}`
  const trainer = new Trainer(loadRecipe(file, [...settings, optimizer]))
  const updates: number[] = []
  const update = trainer.optimizer.update.bind(trainer.optimizer)
  trainer.optimizer.update = (...args) => {
    const start = performance.now()
    update(...args)
    updates.push(performance.now() - start)
  }
  const times = Array.from({ length }, () => {
    const start = performance.now()
    trainer.step(false)
    return performance.now() - start
  })
  if (!trainer.validation) throw new Error('the corpus holds nothing out')
  const options = { domains: trainer.corpus.domains, batchSize: trainer.recipe.data.batchSize, batches: 24 }
  const { loss } = await evaluate(trainer.model, trainer.validation, options)
  trainer.dispose()
  const outcome = { kind, rate, seed, steps: length, loss, step: median(times), update: median(updates) }
  console.error(`${kind} ${rate}, seed ${seed}, ${length} steps: loss ${loss.toFixed(4)}`)
  return outcome
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

/** Mean and standard deviation over seeds. */
function spread(losses: readonly number[]): string {
  const center = mean(losses)
  const deviation = Math.sqrt(
    losses.reduce((sum, loss) => sum + (loss - center) ** 2, 0) / (losses.length - 1),
  )
  return `${center.toFixed(3)} +- ${deviation.toFixed(3)}`
}

const { path } = loadRecipe(file).data
if (!isCorpus(path)) throw new Error(`${path} is missing: make demo prepares it`)

const [first = 1, ...others] = seeds
const all: Outcome[] = []
// Optimizers take turns, so that a busy machine slows all alike.
for (let i = 0; i < 3; i++)
  for (const kind of kinds) all.push(await run(kind, rates[kind]?.[i] ?? Number.NaN, first, steps))
const bestRates = Object.fromEntries(
  kinds.map(kind => {
    const tried = all.filter(each => each.kind === kind)
    return [kind, tried.reduce((least, each) => (each.loss < least.loss ? each : least)).rate]
  }),
)
const rateOf = (kind: string): number => bestRates[kind] ?? Number.NaN
for (const seed of others) for (const kind of kinds) all.push(await run(kind, rateOf(kind), seed, steps))

/** The runs of an optimizer at its best learning rate. */
const best = (kind: string): Outcome[] => all.filter(each => each.kind === kind && each.rate === rateOf(kind))

/** The optimizer's part of a step, which a busy machine changes less than the step's time. */
const shareOf = (kind: string): number =>
  median(all.filter(each => each.kind === kind).map(({ step, update }) => update / step))
const sameTime: Record<string, Outcome[]> = { adamw: best('adamw') }
for (const kind of kinds.slice(1)) {
  const length = Math.round((steps * (1 - shareOf(kind))) / (1 - shareOf('adamw'))) // the rest of a step is the same
  sameTime[kind] = []
  for (const seed of seeds) sameTime[kind].push(await run(kind, rateOf(kind), seed, length))
}

const lossesOf = (group: readonly Outcome[]): string => spread(group.map(({ loss }) => loss))
report({
  name: 'optimizers',
  setting: { recipe: file, steps, seeds, rates },
  rows: [
    ['optimizer', 'rate', 'loss, equal tokens', 'loss, equal time', 'steps then', 'its share'],
    ...kinds.map(kind => [
      kind,
      `${rateOf(kind)}`,
      lossesOf(best(kind)),
      lossesOf(sameTime[kind] ?? []),
      `${sameTime[kind]?.[0]?.steps}`,
      `${(100 * shareOf(kind)).toFixed(1)}%`,
    ]),
  ],
  notes: ['Aim: an optimizer takes less than 10% of a step.'],
  data: { all, sameTime },
})
