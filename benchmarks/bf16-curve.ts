// The loss of 2,000 steps under autocast to bf16 beside f32 on the CPU, three texts each: what half precision costs in
// quality. Works, slowly, on processors without bf16 too.

import { Contestant, median } from './support/contestant.ts'
import { report } from './support/report.ts'

const steps = 2000
const size = { batch: 8, length: 64, hidden: 64, width: 64, layers: 2 }
const seeds = [1, 2, 3]
const kinds = ['f32', 'autocast'] as const

/** Median over the last tenth of the steps: one batch's loss is mostly the batch. */
const last = (losses: readonly number[]): number => median(losses.slice(-steps / 10))

async function curve(kind: string, seed: number): Promise<number[]> {
  const setting = { precision: { kind }, seed, device: 'cpu', size }
  const contestant = await Contestant.ours(`${kind} ${seed}`, 'curve.ts', [JSON.stringify(setting)], {
    BENCH_DEVICE: 'cpu',
  }).ready()
  const round = await contestant.round(steps)
  contestant.close()
  return Object.entries(round).flatMap(([key, loss]) => (key.startsWith('loss') ? [loss] : []))
}

const curves: Record<string, number[]> = {}
for (const seed of seeds) for (const kind of kinds) curves[`${kind} ${seed}`] = await curve(kind, seed)

const ends = (kind: string): number[] => seeds.map(seed => last(curves[`${kind} ${seed}`] ?? []))
const [wide, narrow] = [ends('f32'), ends('autocast')]
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length
const spread = Math.max(...wide) - Math.min(...wide)

report({
  name: 'bf16-curve',
  setting: { steps, size, seeds },
  rows: [
    ['text', 'f32', 'bf16', 'difference'],
    ...seeds.map((seed, i) => {
      const [a = 0, b = 0] = [wide[i], narrow[i]]
      return [String(seed), a.toFixed(4), b.toFixed(4), (b - a).toFixed(4)]
    }),
  ],
  notes: [
    `mean of bf16 less that of f32, over the spread of f32 between texts: ${(Math.abs(mean(narrow) - mean(wide)) / spread).toFixed(2)} (aim: at most 1)`,
  ],
  data: curves,
})
