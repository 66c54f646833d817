// Greedy decoding on CUDA against transformers', at several numbers of texts.

import { Contestant } from './support/contestant.ts'
import {
  activeWeights,
  compete,
  device,
  isTiny,
  measureLimits,
  mixtral707m,
  olmoe,
  percent,
  pythonWithTransformers,
  tera,
} from './support/cuda.ts'
import { report } from './support/report.ts'

const cases = [
  { model: mixtral707m, aim: 300 },
  { model: olmoe, aim: 200 },
]
const [prompt, count] = isTiny ? [5, 4] : [32, 128]
const python = pythonWithTransformers()
const limits = await measureLimits()
const rows = [['model', 'texts', 'who', 'tokens/s', 'of the limit']]
const notes = [
  `copies: ${tera(limits.bytes)} TB/s in this run; the limit of one text is that rate over the bytes of the weights it passes`,
]
const data: Record<string, unknown> = { limits }

for (const { model, aim } of cases) {
  const { kind, fields } = model
  const limit = limits.bytes / (2 * activeWeights(fields))
  for (const batch of isTiny ? [1, 2] : [1, 16, 64]) {
    const contestants = [
      Contestant.ours('switchyard', 'cuda-decode.ts', [JSON.stringify({ kind, fields, batch, prompt })]),
    ]
    if (python) {
      const args = [device, kind, JSON.stringify(fields), String(batch), String(prompt), 'grouped_mm']
      contestants.push(Contestant.peer('transformers, grouped_mm', python, 'hf_decode.py', args))
    }
    const finished = await compete(contestants, { rounds: 3, count, warmup: count })
    for (const { name, median } of finished) {
      rows.push([
        name === 'switchyard' && batch === 1 ? model.name : '',
        String(batch),
        name,
        (batch / median).toFixed(0),
        batch === 1 ? percent(1 / median / limit) : '',
      ])
    }
    const [ours] = finished
    if (batch === 1 && ours)
      notes.push(
        `${model.name}, one text: ${(1 / ours.median).toFixed(0)} tokens/s (aim: ${aim}, limit: ${limit.toFixed(0)})`,
      )
    data[`${model.name} ${batch}`] = Object.fromEntries(finished.map(({ name, rounds }) => [name, rounds]))
  }
}

report({ name: 'cuda-decode', setting: { prompt, count, device }, rows, notes, data })
