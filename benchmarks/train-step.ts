// A training step in tokens per second and memory, against plain PyTorch on the same libtorch: a loop over separate
// expert modules, at 1 and 2 threads of which the better counts. All contestants take turns.

import { Contestant, pythonWithTorch, race } from './support/contestant.ts'
import { report } from './support/report.ts'

const sizes = {
  vocab: 4096,
  hidden: 256,
  layers: 4,
  heads: 4,
  ff: 512,
  experts: 8,
  topK: 2,
  batch: 8,
  length: 256,
}
const tokens = sizes.batch * sizes.length
/** Forward and backward of the matrix products and causal attention: 3 x 2 per active parameter, head included. */
const flopsPerToken =
  6 *
    (sizes.layers * (4 * sizes.hidden ** 2 + sizes.topK * 3 * sizes.hidden * sizes.ff) +
      sizes.vocab * sizes.hidden) +
  6 * sizes.layers * sizes.hidden * sizes.length

const python = pythonWithTorch()
const setting = JSON.stringify(sizes)
const gemm = Contestant.ours('sgemm 1024^3', 'sgemm.ts')
const ours = Contestant.ours('switchyard', 'train-step.ts', ['2', '2', setting])
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
await race([gemm], { rounds: 0, warmup: 100 })
for (const contestant of [ours, ...peers]) await (await contestant.ready()).round(steps, { warmup: true })
for (let round = 0; round < 7; round++) {
  await gemm.round(50)
  for (const contestant of [ours, ...peers]) await contestant.round(steps)
}

const limit = (2 * 1024 ** 3) / gemm.median
const speed = (contestant: Contestant): number => tokens / contestant.median
const best = peers.reduce<Contestant | undefined>((a, b) => (a && speed(a) >= speed(b) ? a : b), undefined)
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`
const leanest = Math.min(...peers.map(peer => peer.growth))

report({
  name: 'train-step',
  setting: { ...sizes, steps, rounds: 7, flopsPerToken },
  rows: [
    ['who', 'tokens/s', 'of sgemm', 'memory of the step', 'peak of the process'],
    ...[ours, ...peers].map(contestant => [
      contestant.name,
      speed(contestant).toFixed(0),
      `${((100 * speed(contestant) * flopsPerToken) / limit).toFixed(0)}%`,
      megabytes(contestant.growth),
      megabytes(contestant.growth + contestant.baseline),
    ]),
  ],
  notes: [
    `sgemm 1024^3 in this run: ${(limit / 1e9).toFixed(0)} GFLOP/s`,
    ...(best
      ? [`speed over the best PyTorch: ${(speed(ours) / speed(best)).toFixed(2)} (aim: at least 0.9)`]
      : []),
    ...(best
      ? [`memory over the leanest PyTorch: ${(ours.growth / leanest).toFixed(2)} (aim: at most 1)`]
      : []),
  ],
  data: Object.fromEntries([gemm, ours, ...peers].map(({ name, rounds }) => [name, rounds])),
})
for (const contestant of [gemm, ours, ...peers]) contestant.close()
