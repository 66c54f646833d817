// How long `switchyard --help` takes, against node doing nothing: it must load neither addon nor schemas.

import { spawnSync } from 'node:child_process'
import { median } from './support/contestant.ts'
import { report } from './support/report.ts'

const commands = {
  'switchyard --help': ['dist/cli/main.js', '--help'],
  'switchyard train --help': ['dist/cli/main.js', 'train', '--help'],
  'node -e 0': ['-e', '0'],
}

function seconds(args: readonly string[]): number {
  const start = performance.now()
  spawnSync(process.execPath, args, { stdio: 'ignore' })
  return (performance.now() - start) / 1000
}

const rounds = Array.from({ length: 15 }, () =>
  Object.fromEntries(Object.entries(commands).map(([name, args]) => [name, seconds(args)])),
)
const medians = Object.keys(commands).map(
  name => [name, median(rounds.map(round => round[name] ?? 0))] as const,
)
const bare = medians.at(-1)?.[1] ?? 0

report({
  name: 'start-up',
  setting: { rounds: rounds.length },
  rows: [
    ['command', 'median', 'over bare node'],
    ...medians.map(([name, value]) => [
      name,
      `${(value * 1000).toFixed(0)} ms`,
      `${((value - bare) * 1000).toFixed(0)} ms`,
    ]),
  ],
  notes: ['aim: at most 100 ms over bare node'],
  data: { rounds },
})
