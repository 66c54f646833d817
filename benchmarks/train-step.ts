// A training step in tokens per second and memory, against plain PyTorch on the same libtorch (a loop over separate
// expert modules, in f32 and under autocast to bf16, at 1 and 2 threads, of which the best counts; at 2 alone when large) and against our own
// dense twin. All take turns.
//   usage: train-step.ts [large]

import type { Sizes } from './contestants/mixtral.ts'
import { Contestant, pythonWithTorch } from './support/contestant.ts'
import { ProductLimits } from './support/limits.ts'
import { report } from './support/report.ts'
import { largeTrainingSizes, trainingFlopsPerToken, trainingSizes } from './support/training.ts'

const isLarge = process.argv[2] === 'large'
const sizes: Sizes = isLarge ? largeTrainingSizes : trainingSizes
const [steps, rounds] = isLarge ? [1, 3] : [3, 7]
const tokens = sizes.batch * sizes.length
const flopsPerToken = trainingFlopsPerToken(sizes)
const setting = JSON.stringify(sizes)

const python = pythonWithTorch()
const limits = await ProductLimits.ready()
const isHalf = limits.best('bf16') !== null
const ours = Contestant.ours('switchyard', 'train-step.ts', ['moe', setting])
const half = isHalf ? [Contestant.ours('switchyard, bf16', 'train-step.ts', ['moe', setting, 'bf16'])] : []
const dense = isLarge ? [] : [Contestant.ours('switchyard, dense twin', 'train-step.ts', ['dense', setting])]
const threadCounts = isLarge ? ['2'] : ['1', '2']
const peers = (isHalf ? ['f32', 'bf16'] : ['f32']).flatMap(dtype =>
  threadCounts.flatMap(threads => {
    const name = `PyTorch, ${dtype}, ${threads} threads`
    return python ? Contestant.peer(name, python, 'train_step.py', [threads, setting, dtype]) : []
  }),
)
if (!python)
  console.log(
    'train-step: no Python with torch found (set PYTHON, or apt-get install python3-torch); peers left out',
  )

limits.restart()
const models = [ours, ...half, ...dense, ...peers]
const isNarrow = ({ name }: Contestant): boolean => name.includes('bf16')
// Those of a group live side by side; all of the larger ones at once would need more than 24 GB.
const groups = isLarge ? [models.filter(who => !isNarrow(who)), models.filter(isNarrow)] : [models]
for (const group of groups) {
  for (const contestant of group) await (await contestant.ready()).round(steps, { warmup: true })
  for (let round = 0; round < rounds; round++) {
    await limits.round(20)
    for (const contestant of group) await contestant.round(steps)
  }
  for (const contestant of group) contestant.close()
}

const speed = (contestant: Contestant): number => tokens / contestant.median
const fastest = (of: readonly Contestant[]): number => Math.max(...of.map(speed))
const share = (contestant: Contestant): number => {
  const limit = limits.best(isNarrow(contestant) ? 'bf16' : 'f32') ?? Number.NaN
  return (100 * speed(contestant) * flopsPerToken) / limit
}
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`
const leanest = Math.min(...peers.map(peer => peer.growth))
const ratio = (a: number, b: number): string => (a / b).toFixed(2)
const singles = peers.filter(peer => peer.name.includes('f32'))

report({
  name: isLarge ? 'train-step-large' : 'train-step',
  setting: { ...sizes, steps, rounds, flopsPerToken },
  rows: [
    ['who', 'tokens/s', 'of the limit', 'memory of the step', 'peak of the process'],
    ...models.map(contestant => [
      contestant.name,
      speed(contestant).toFixed(0),
      `${share(contestant).toFixed(0)}%`,
      megabytes(contestant.growth),
      megabytes(contestant.growth + contestant.baseline),
    ]),
  ],
  notes: [
    String(limits),
    `share of the best library's f32 products: ${share(ours).toFixed(0)}% (aim: at least 65%)`,
    ...(peers.length > 0
      ? [
          `speed over the best PyTorch in f32: ${ratio(speed(ours), fastest(singles))} (aim: at least 1.9)`,
          `memory over the leanest PyTorch: ${ratio(ours.growth, leanest)} (aim: at most 1)`,
        ]
      : []),
    ...half.flatMap(contestant => [
      `bf16, speed over f32: ${ratio(speed(contestant), speed(ours))} (aim: at least 1.6)`,
      `bf16, share of the best bf16 products: ${share(contestant).toFixed(0)}% (aim: at least 45%)`,
      `bf16, speed over the best PyTorch: ${ratio(speed(contestant), fastest(peers))} (aim: at least 2)`,
    ]),
    ...dense.map(
      twin =>
        `speed over the dense twin of equal active parameters: ${ratio(speed(ours), speed(twin))} (aim: at least 0.8)`,
    ),
  ],
  data: Object.fromEntries([...limits.contestants, ...models].map(({ name, rounds }) => [name, rounds])),
})
limits.close()
