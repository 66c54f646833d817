// Whether a process stays within its budget: a model of 3 GiB under budgets far below that, through a prompt of 4,096 tokens
// and a text, with keys and values in Q8_0. What the process has in memory is sampled from outside every 10 ms.
//   usage: budget.ts [GIB...]

import { spawn } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { report } from './support/report.ts'
import { largeModel, largeStoredModel } from './support/stored-model.ts'

const budgets = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [0.5, 1, 2]
const setting = { prompt: 4096, written: 64, kv: 'q8_0' }
const file = largeStoredModel()
const gib = 2 ** 30

interface Run {
  /** Samples of VmRSS in bytes. */
  samples: number[]
  /** What the kernel saw at most. */
  peak: number
  promptSeconds: number
  tokensPerSecond: number
  resident: number
  total: number
  hitRate: number
  ids: number[]
}

const runs: Run[] = []
for (const budget of budgets) runs.push(await run(budget * gib))
const rows = runs.map(({ samples, peak, promptSeconds, tokensPerSecond, resident, total, hitRate }, i) => {
  const budget = (budgets[i] ?? 0) * gib
  const sampled = samples.reduce((most, sample) => Math.max(most, sample), 0)
  return [
    `${budgets[i]} GiB`,
    `${resident} of ${total}`,
    `${(sampled / gib).toFixed(3)} GiB`,
    `${(peak / gib).toFixed(3)} GiB`,
    `${((100 * peak) / budget).toFixed(1)}%`,
    `${promptSeconds.toFixed(1)} s`,
    tokensPerSecond.toFixed(1),
    `${(100 * hitRate).toFixed(0)}%`,
  ]
})
const [first] = runs
const isSame = runs.every(({ ids }) => ids.join() === first?.ids.join())
report({
  name: 'budget',
  setting: { model: largeModel, bytes: statSync(file).size, ...setting },
  rows: [
    [
      'budget',
      'experts that fit',
      'most sampled',
      'peak',
      'of budget',
      'prompt',
      'tokens/s',
      'hits while writing',
    ],
    ...rows,
  ],
  notes: [
    `texts are ${isSame ? 'the same' : 'NOT THE SAME'} at every budget`,
    ...runs.map(
      ({ peak }, i) =>
        `peak over a budget of ${budgets[i]} GiB: ${(peak / ((budgets[i] ?? 0) * gib)).toFixed(3)} (aim: at most 1.03)`,
    ),
  ],
  data: Object.fromEntries(runs.map((each, i) => [`${budgets[i]} GiB`, each])),
})

/** One process within a budget, watched from outside. */
async function run(memory: number): Promise<Run> {
  const script = fileURLToPath(new URL('contestants/budget.ts', import.meta.url))
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', script, JSON.stringify({ file, memory, ...setting })],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const samples: number[] = []
  const watch = setInterval(() => {
    const bytes = statusOf(child.pid ?? 0, 'VmRSS')
    if (bytes > 0) samples.push(bytes)
  }, 10)
  let output = ''
  for await (const chunk of child.stdout) output += chunk
  clearInterval(watch)
  return { samples, ...JSON.parse(output) }
}

function statusOf(pid: number, field: string): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    return 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0)
  } catch {
    return 0 // it has ended
  }
}
