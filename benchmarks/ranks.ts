// What it costs that a model is trained by two processes of one thread and not by one of two: the same recipe, text and cores, by turns; and
// whether ranks send what the formulas say.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openTensors } from '../src/models/index.ts'
import { median } from './support/contestant.ts'
import { report } from './support/report.ts'

const [steps, rounds] = [16, 3]
const sizes = { hidden: 256, experts: 8, layers: 4, batch: 8, length: 256, choices: 2 }
const cli = ['dist/cli/main.js']
const folder = mkdtempSync(join(tmpdir(), 'switchyard-ranks-'))
const corpus = join(folder, 'corpus')
const recipe = join(folder, 'recipe.yaml')

interface Line {
  tokensPerSecond: number
  losses?: Record<string, number>
  sent?: Record<string, { calls: number; bytes: number }>
}

const run = (args: readonly string[], threads: number): void => {
  const env = { ...process.env, SWITCHYARD_THREADS: String(threads) }
  execFileSync(process.execPath, [...cli, ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] })
}

function train(name: string, mesh: string | null): Line[] {
  const out = join(folder, name)
  rmSync(out, { recursive: true, force: true })
  const command = ['train', recipe, '--out', out, '--quiet']
  if (mesh === null) run(command, 2)
  else run(['launch', '-n', '2', ...command, '--mesh', mesh], 1)
  const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n')
  return lines.map(line => JSON.parse(line) as Line).filter(({ losses }) => losses)
}

if (!existsSync(cli[0] as string)) throw new Error('make setup builds what this runs')
run(['data', 'prepare', '--sample', '--out', corpus, '--quiet'], 2)
writeFileSync(
  recipe,
  `name: ranks
model: { type: mixtral, hidden_size: ${sizes.hidden}, intermediate_size: 512, num_hidden_layers: ${sizes.layers}, num_attention_heads: 4, num_local_experts: ${sizes.experts} }
data: { path: ${corpus}, sequenceLength: ${sizes.length}, batchSize: ${sizes.batch} }
optimizer: { kind: adamw, learningRate: 1e-3 }
steps: ${steps}
evaluation: { batches: 1 }
checkpoint: { every: 0 }
logging: { every: 1 }
`,
)

const contestants = { 'one process': null, 'data=2': 'data=2', 'expert=2': 'expert=2' } as const
type Name = keyof typeof contestants
const names = Object.keys(contestants) as Name[]
const speeds: Record<Name, number[]> = { 'one process': [], 'data=2': [], 'expert=2': [] }
const last = {} as Record<Name, Line>
for (let round = 0; round < rounds; round++) {
  for (const name of names) {
    const lines = train(name, contestants[name]).slice(4) // the first steps take memory
    speeds[name].push(median(lines.map(({ tokensPerSecond }) => tokensPerSecond)))
    last[name] = lines.at(-1) as Line
  }
}

/** Elements of what experts alone have, and of all else, as a checkpoint has them. */
function elements(): { experts: number; others: number } {
  const step = String(steps).padStart(8, '0')
  const tensors = [
    ...openTensors(join(folder, 'one process', 'checkpoints', `step-${step}`, 'model.safetensors')),
  ]
  const count = (isExpert: boolean): number =>
    tensors
      .filter(([name]) => name.includes('.experts.') === isExpert)
      .reduce((sum, [, { numel }]) => sum + numel, 0)
  return { experts: count(true), others: count(false) }
}

const { experts, others } = elements()
const f32 = 4
const ring = 1 // 2 (n - 1) / n of two ranks
const gradients = (name: Name): number => last[name].sent?.bucket?.bytes ?? 0
const expected = { 'data=2': (experts + others) * f32 * ring, 'expert=2': others * f32 * ring }
const rows = sizes.batch * sizes.length * sizes.choices
// There and back, forward and backward, of each rank's half of the tokens the half that the other one's experts have.
const evenRows = (rows / 2 / 2) * sizes.hidden * f32 * 4 * sizes.layers
const travelled = last['expert=2'].sent?.['all-to-all']?.bytes ?? 0
const speed = (name: Name): number => median(speeds[name])
const share = (name: Name): string => (speed(name) / speed('one process')).toFixed(2)

report({
  name: 'ranks',
  setting: { ...sizes, steps, rounds },
  rows: [
    ['ranks', 'tokens/s', 'of one process', 'gradients sent', 'rows sent'],
    ...names.map(name => [
      name,
      speed(name).toFixed(0),
      share(name),
      `${(gradients(name) / 2 ** 20).toFixed(1)} MiB`,
      `${((last[name].sent?.['all-to-all']?.bytes ?? 0) / 2 ** 20).toFixed(1)} MiB`,
    ]),
  ],
  notes: [
    `speed of data=2 over one process of two threads: ${share('data=2')} (aim: at least 0.9)`,
    `speed of expert=2 over one process of two threads: ${share('expert=2')} (aim: at least 0.9)`,
    `bytes of gradients over the formula, data=2: ${gradients('data=2') / expected['data=2']} (aim: 1)`,
    `bytes of gradients over the formula, expert=2: ${gradients('expert=2') / expected['expert=2']} (aim: 1)`,
    `bytes of rows over an even spread: ${(travelled / evenRows).toFixed(3)} (aim: about 1)`,
  ],
  data: { speeds, sent: Object.fromEntries(names.map(name => [name, last[name].sent])) },
})
rmSync(folder, { recursive: true })
