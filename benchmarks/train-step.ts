// A training step in tokens per second and memory, against plain PyTorch on the same libtorch (a loop over separate
// expert modules, at 1 and 2 threads of which the better counts) and against our own dense twin. All take turns.

import { Contestant, pythonWithTorch, race } from './support/contestant.ts'
import { report } from './support/report.ts'
import { trainingFlopsPerToken, trainingSizes } from './support/training.ts'

const tokens = trainingSizes.batch * trainingSizes.length
const flopsPerToken = trainingFlopsPerToken(trainingSizes)
const setting = JSON.stringify(trainingSizes)

const python = pythonWithTorch()
const gemm = Contestant.ours('sgemm 1024^3', 'sgemm.ts')
const ours = Contestant.ours('switchyard', 'train-step.ts', ['moe', setting])
const dense = Contestant.ours('switchyard, dense twin', 'train-step.ts', ['dense', setting])
const peers = python
  ? ['1', '2'].map(threads =>
      Contestant.peer(`PyTorch, ${threads} threads`, python, 'train_step.py', [threads, setting]),
    )
  : []
if (!python)
  console.log(
    'train-step: no Python with torch found (set PYTHON, or apt-get install python3-torch); peers left out',
  )

const steps = 3
const rounds = 7
await race([gemm], { rounds: 0, warmup: 100 })
const models = [ours, dense, ...peers]
for (const contestant of models) await (await contestant.ready()).round(steps, { warmup: true })
for (let round = 0; round < rounds; round++) {
  await gemm.round(50)
  for (const contestant of models) await contestant.round(steps)
}

const limit = (2 * 1024 ** 3) / gemm.median
const speed = (contestant: Contestant): number => tokens / contestant.median
const best = peers.reduce<Contestant | undefined>((a, b) => (a && speed(a) >= speed(b) ? a : b), undefined)
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`
const leanest = Math.min(...peers.map(peer => peer.growth))
const ratio = (a: number, b: number): string => (a / b).toFixed(2)

report({
  name: 'train-step',
  setting: { ...trainingSizes, steps, rounds, flopsPerToken },
  rows: [
    ['who', 'tokens/s', 'of sgemm', 'memory of the step', 'peak of the process'],
    ...models.map(contestant => [
      contestant.name,
      speed(contestant).toFixed(0),
      `${((100 * speed(contestant) * flopsPerToken) / limit).toFixed(0)}%`,
      megabytes(contestant.growth),
      megabytes(contestant.growth + contestant.baseline),
    ]),
  ],
  notes: [
    `sgemm 1024^3 in this run: ${(limit / 1e9).toFixed(0)} GFLOP/s (aim: at least 65% of it)`,
    ...(best
      ? [
          `speed over the best PyTorch: ${ratio(speed(ours), speed(best))} (aim: at least 1.3)`,
          `memory over the leanest PyTorch: ${ratio(ours.growth, leanest)} (aim: at most 1)`,
        ]
      : []),
    `speed over the dense twin of equal active parameters: ${ratio(speed(ours), speed(dense))} (aim: at least 0.8)`,
  ],
  data: Object.fromEntries([gemm, ...models].map(({ name, rounds }) => [name, rounds])),
})
for (const contestant of [gemm, ...models]) contestant.close()
