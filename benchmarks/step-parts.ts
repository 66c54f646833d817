// Where the time of a training step goes: each part alone, with and without kernels, and what the host takes.

import { Contestant, median, race } from './support/contestant.ts'
import { report } from './support/report.ts'
import { trainingSizes } from './support/training.ts'

const setting = JSON.stringify(trainingSizes)
// The same operators with next to nothing to compute: TypeScript, the dispatcher and libtorch's own overhead.
const nothing = { ...trainingSizes, vocab: 16, hidden: 8, ff: 8, batch: 1, length: 2 }

const before = Contestant.ours('reference paths', 'step-parts.ts', [setting], { SWITCHYARD_KERNELS: 'none' })
const after = Contestant.ours('kernels', 'step-parts.ts', [setting])
const host = Contestant.ours('host alone', 'train-step.ts', ['moe', JSON.stringify(nothing)])
const all = [before, after]

const rounds = 7
await race(all, { rounds, count: 2, warmup: 1 })
await race([host], { rounds, count: 50, warmup: 50 })

const names = Object.keys(after.rounds[0] ?? {}).filter(name => name !== 'seconds' && name !== 'peak')
const secondsOf = (contestant: Contestant, part: string): number =>
  median(contestant.rounds.map(round => round[part] ?? 0))
const whole = (contestant: Contestant): number => secondsOf(contestant, 'whole step')
const rest = (contestant: Contestant): number =>
  2 * whole(contestant) - names.reduce((sum, name) => sum + secondsOf(contestant, name), 0)
const cells = (contestant: Contestant, seconds: number): string[] => [
  (seconds * 1e3).toFixed(1),
  `${((100 * seconds) / whole(contestant)).toFixed(0)}%`,
]

report({
  name: 'step-parts',
  setting: { ...trainingSizes, rounds },
  rows: [
    ['part (forward and backward)', 'reference, ms', 'share', 'kernels, ms', 'share'],
    ...names.map(name => [
      name,
      ...all.flatMap(contestant => cells(contestant, secondsOf(contestant, name))),
    ]),
    [
      'residuals, balance loss, and the like',
      ...all.flatMap(contestant => cells(contestant, rest(contestant))),
    ],
  ],
  notes: [
    `TypeScript and dispatch (the same step with next to nothing to compute): ${(host.median * 1e3).toFixed(1)} ms, ` +
      `${((100 * host.median) / whole(after)).toFixed(1)}% of the step (aim: JavaScript under 5%)`,
  ],
  data: Object.fromEntries([...all, host].map(({ name, rounds }) => [name, rounds])),
})
for (const contestant of [...all, host]) contestant.close()
