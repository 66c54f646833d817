// Forward and backward of one MoE layer on CUDA against transformers'.

import { Contestant } from './support/contestant.ts'
import {
  activeInLayer,
  compete,
  device,
  isTiny,
  measureLimits,
  mixtral8x7b,
  olmoe,
  percent,
  pythonWithTransformers,
  tera,
} from './support/cuda.ts'
import { report } from './support/report.ts'

const tokens = isTiny ? 64 : 16_384
const cases = [
  { model: mixtral8x7b, aim: 52 },
  { model: olmoe, aim: 12 },
]
const python = pythonWithTransformers()
const limits = await measureLimits()
const rows = [['layer of', 'who', 'ms', 'TFLOP/s', 'of the limit']]
const notes = [`products: ${tera(limits.flops)} TFLOP/s in this run`]
const data: Record<string, unknown> = { limits }

for (const { model, aim } of cases) {
  const { kind, fields } = model
  const contestants = [
    Contestant.ours('switchyard', 'cuda-layer.ts', [JSON.stringify({ kind, fields, tokens })]),
  ]
  if (python) {
    const peer = [
      'hf_layer.py',
      [device, kind, JSON.stringify(fields), String(tokens), 'grouped_mm'],
    ] as const
    contestants.push(Contestant.peer('transformers, grouped_mm', python, ...peer))
  }
  const finished = await compete(contestants, { rounds: 5, count: isTiny ? 1 : 20, warmup: isTiny ? 1 : 10 })
  const flops = 6 * activeInLayer(fields) * tokens
  for (const { name, median } of finished) {
    rows.push([
      name === 'switchyard' ? model.name : '',
      name,
      (median * 1e3).toFixed(2),
      tera(flops / median),
      percent(flops / median / limits.flops),
    ])
  }
  const [ours, theirs] = finished
  const floor = ((1e3 * flops) / limits.flops).toFixed(1)
  if (ours)
    notes.push(
      `${model.name}: ${(ours.median * 1e3).toFixed(1)} ms (aim: ${aim}, floor: ${floor})` +
        (theirs ? `, ${(theirs.median / ours.median).toFixed(2)} times as fast as transformers` : ''),
    )
  data[model.name] = Object.fromEntries(finished.map(({ name, rounds }) => [name, rounds]))
}

report({ name: 'cuda-layer', setting: { tokens, device }, rows, notes, data })
