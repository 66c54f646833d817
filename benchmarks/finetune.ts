// What is trained in fine-tuning, and what it costs: a small model of three domains learns a fourth.
//   usage: finetune.ts [STEPS [NAME ...]]
// ST-MoE (arXiv:2202.08906 section 4.3) found that fine-tuning experts and routers alone is worse than anything else; here
// each way is tried at three learning rates, and its best one on the task counts.

import { existsSync, rmSync } from 'node:fs'
import { fileSource, isCorpus, openCorpus, prepareCorpus } from '../src/data/index.ts'
import { openModel } from '../src/models/index.ts'
import { memoryUse, resetPeakMemory } from '../src/torch/index.ts'
import { checkRecipe, evaluate, loadRecipe, Trainer, train } from '../src/train/index.ts'
import { report } from './support/report.ts'

const place = 'build/benchmarks/finetune'
const [baseText, task, base] = [`${place}/base-text`, `${place}/task`, `${place}/base`]
const [steps = '150', ...wanted] = process.argv.slice(2)

async function prepare(): Promise<void> {
  const paths = (names: readonly string[]): string[] => names.map(name => `samples/${name}.jsonl`)
  if (!isCorpus(baseText)) {
    const source = fileSource({ paths: paths(['bible', 'code', 'maths']) })
    await prepareCorpus({
      out: baseText,
      source,
      tokenizer: { kind: 'bpe', vocabSize: 2048 },
      validation: 0.1,
    })
  }
  if (!isCorpus(task)) {
    const file = openCorpus(baseText).tokenizerFile
    const source = fileSource({ paths: paths(['es']) })
    await prepareCorpus({ out: task, source, tokenizer: { kind: 'file', file }, validation: 0.1 })
  }
  if (existsSync(`${base}/run.json`)) return
  rmSync(base, { recursive: true, force: true })
  console.error('training the base, 600 steps')
  const recipe = loadRecipe('recipes/demo.yaml', [`data.path=${baseText}`])
  for await (const event of train(recipe, { out: base }))
    if (event.type === 'warning') console.error(event.message)
}

await prepare()

type Settings = Record<string, unknown>

/** Losses of a trainer's model: on the task, and on each domain of the base. */
async function lossesOf({ model }: Trainer): Promise<{ task: number; domains: Record<string, number> }> {
  const read = async (path: string): Promise<Record<string, number>> => {
    const probe = new Trainer(recipeOf({ data: { path, sequenceLength: 128, batchSize: 16 } }))
    const { validation, corpus } = probe
    if (!validation) throw new Error(`${path} holds nothing out`)
    const result = await evaluate(model, validation, {
      domains: corpus.domains,
      batchSize: 16,
      batches: null,
    })
    probe.dispose()
    return Object.fromEntries(result.domains.map(({ name, loss }) => [name, loss]))
  }
  return { task: Object.values(await read(task))[0] ?? Number.NaN, domains: await read(baseText) }
}

const recipeOf = (settings: Settings): ReturnType<typeof checkRecipe> =>
  checkRecipe(
    {
      ...{ name: 'x', model: { from: base }, data: { path: task, sequenceLength: 128, batchSize: 16 } },
      optimizer: { kind: 'adamw', learningRate: 1e-3, weightDecay: 0 },
      ...{ schedule: { kind: 'cosine', warmup: 10 }, steps: Number(steps), logging: { every: 1000 } },
      ...settings,
    },
    'benchmark',
  )

/** The two experts of each layer that the task uses most before anything is learnt, or two at random. */
async function twoExperts(how: 'used' | 'random'): Promise<string> {
  const trainer = new Trainer(recipeOf({}))
  if (!trainer.validation) throw new Error('the task holds nothing out')
  const { domains } = trainer.corpus
  const { expertLoad } = await evaluate(trainer.model, trainer.validation, {
    domains,
    batchSize: 16,
    batches: null,
  })
  trainer.dispose()
  return expertLoad
    .flatMap((loads, layer) => {
      const load = loads[0] ?? []
      const used = load.map((_, e) => e).sort((a, b) => (load[b] ?? 0) - (load[a] ?? 0))
      const chosen = how === 'used' ? used.slice(0, 2) : [(3 * layer + 1) % 8, (3 * layer + 6) % 8]
      return chosen.map(expert => `experts:${layer}.${expert}`)
    })
    .join(',')
}

const lora = (on: string, rank = 8): Settings => ({ adapter: { rank, alpha: 2 * rank, on } })
const [used, random] = [await twoExperts('used'), await twoExperts('random')]

/** As ST-MoE fine-tunes (arXiv:2202.08906 section 4): more is dropped in experts than elsewhere, and batches are small. */
const dropped = { dropout: { hidden: 0.1, experts: 0.4 } }
/** A quarter of the batch, so often that as much is seen. */
const small = { data: { path: task, sequenceLength: 128, batchSize: 4 }, steps: 4 * Number(steps) }

const ways: Record<string, Settings> = {
  all: {},
  'non-moe': { trained: 'non-moe' },
  moe: { trained: 'moe' },
  'feed-forward': { trained: 'feed-forward' },
  attention: { trained: 'attention' },
  'all but routers': { trained: '-router' },
  'all but experts': { trained: '-experts' },
  'two experts a layer, most used': { trained: used },
  'two experts a layer, at random': { trained: random },
  'LoRA on attention': lora('attention'),
  'LoRA on experts': lora('experts'),
  'LoRA on attention and experts': lora('attention,experts'),
  'LoRA on two experts a layer, most used': lora(used),
  'LoRA on two experts a layer, at random': lora(random),
  'all, 10% dropped': { dropout: { hidden: 0.1 } },
  'all, 10% dropped and 40% in experts': dropped,
  'all, small batches': small,
  'all, small batches, 10% dropped and 40% in experts': { ...small, ...dropped },
}
const names = Object.keys(ways).filter(name => wanted.length === 0 || wanted.includes(name))
const rates = [1e-3, 3e-3, 1e-2]

interface Outcome {
  rate: number
  task: number
  domains: Record<string, number>
  trained: number
  seconds: number
  memory: number
}

async function outcomeOf(settings: Settings, rate: number): Promise<Outcome> {
  const trainer = new Trainer(recipeOf({ ...settings, optimizer: { learningRate: rate, weightDecay: 0 } }))
  resetPeakMemory()
  const start = performance.now()
  while (trainer.state.step < trainer.recipe.steps) trainer.step(false)
  const seconds = (performance.now() - start) / 1e3
  const memory = memoryUse().peakBytes
  const losses = await lossesOf(trainer)
  const trained = trainer.trained.parts.reduce((sum, part) => sum + part.trained, 0)
  trainer.dispose()
  return { rate, ...losses, trained, seconds, memory }
}

const first = new Trainer(recipeOf({}))
const before = await lossesOf(first)
first.dispose()
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length
const forgotten = ({ domains }: { domains: Record<string, number> }): number =>
  mean(Object.entries(domains).map(([name, loss]) => loss - (before.domains[name] ?? 0)))

const outcomes: Record<string, Outcome[]> = {}
for (const name of names) {
  outcomes[name] = []
  for (const rate of rates) outcomes[name].push(await outcomeOf(ways[name] ?? {}, rate))
  console.error(name, outcomes[name].map(({ task }) => task.toFixed(3)).join(' '))
}
const best = (name: string): Outcome =>
  (outcomes[name] ?? []).reduce((lowest, each) => (each.task < lowest.task ? each : lowest))

report({
  name: 'finetune',
  setting: { base: openModel(base).path, steps: Number(steps), rates, used, random },
  rows: [
    ['trained', 'parameters', 'rate', 'task', 'forgotten', 's', 'MB'],
    ['nothing', '0', '', before.task.toFixed(3), '0.000', '', ''],
    ...names.map(name => {
      const outcome = best(name)
      const { trained, rate, task: loss, seconds, memory } = outcome
      const cells = [String(trained), rate.toExponential(0), loss.toFixed(3), forgotten(outcome).toFixed(3)]
      return [name, ...cells, seconds.toFixed(1), (memory / 1e6).toFixed(0)]
    }),
  ],
  notes: [
    'task: validation loss on the fourth domain, nats per token. forgotten: mean rise of the loss on the other three.',
  ],
  data: outcomes,
})
