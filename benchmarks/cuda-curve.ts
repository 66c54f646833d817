// The loss of 200 steps in half precision beside f32, with the spread of f32 over seeds; and memory over 500 steps.

import { Contestant } from './support/contestant.ts'
import { compete, device, isTiny } from './support/cuda.ts'
import { report } from './support/report.ts'

const steps = isTiny ? 20 : 200
const size = isTiny
  ? { batch: 2, length: 32, hidden: 32, width: 32, layers: 2 }
  : { batch: 16, length: 256, hidden: 256, width: 512, layers: 4 }
const longRun = isTiny ? 40 : 500
const runs: [name: string, precision: object, seed: number][] = [
  ['f32', { kind: 'f32' }, 1],
  ['f32, other text', { kind: 'f32' }, 2],
  ['f32, other text again', { kind: 'f32' }, 3],
  ['bf16 weights, f32 masters', { kind: 'half' }, 1],
  ['bf16 weights and moments', { kind: 'half', master: false, moments: 'bf16' }, 1],
  ['bf16 autocast', { kind: 'autocast' }, 1],
  // A CPU has no products in f16.
  ...(isTiny
    ? []
    : ([['f16 weights, loss scale', { kind: 'half', dtype: 'f16' }, 1]] as const).map(
        run => [...run] as [string, object, number],
      )),
]

/** Mean over the last tenth of the steps: one batch's loss is mostly the batch. */
const last = (losses: readonly number[]): number => {
  const tail = losses.slice(-Math.ceil(losses.length / 10))
  return tail.reduce((sum, loss) => sum + loss, 0) / tail.length
}

const rows = [['weights', 'first loss', 'last tenth', 'furthest from f32, same text']]
const curves: Record<string, number[]> = {}
for (const [name, precision, seed] of runs) {
  const contestant = Contestant.ours(name, 'curve.ts', [JSON.stringify({ precision, seed, device, size })])
  const [finished] = await compete([contestant], { rounds: 1, count: steps - 1, warmup: 1 })
  if (!finished) continue
  const [round = {}] = finished.rounds as Record<string, number>[]
  const losses = Object.entries(round).flatMap(([key, loss]) => (key.startsWith('loss') ? [loss] : []))
  curves[name] = losses
  const wide = curves.f32 ?? []
  const apart = Math.max(...losses.map((loss, i) => Math.abs(loss - (wide[i] ?? 0))))
  rows.push([name, (losses[0] ?? 0).toFixed(4), last(losses).toFixed(4), seed === 1 ? apart.toFixed(4) : ''])
}
const spread = ['f32', 'f32, other text', 'f32, other text again'].map(name => last(curves[name] ?? []))
const notes = [
  `noise of the last tenth over texts in f32: ${(Math.max(...spread) - Math.min(...spread)).toFixed(4)} nats (aim: half precision nearer to f32 than that)`,
]

const leaking = await Contestant.ours('leak', 'curve.ts', [
  JSON.stringify({ precision: { kind: 'half' }, seed: 1, device, size }),
]).ready()
const early = await leaking.round(longRun / 10, { warmup: true })
const late = await leaking.round(longRun - longRun / 10)
leaking.close()
notes.push(
  `${longRun} steps: ${late.tensors} tensors after, ${early.tensors} early; ${late.allocated} bytes on the device after, ${early.allocated} early (aim: the same)`,
)

report({
  name: 'cuda-curve',
  setting: { steps, longRun, device },
  rows,
  notes,
  data: { curves, early, late },
})
