// A training step on CUDA against transformers': tokens/s, share of the card's own product rate, memory.

import { Contestant } from './support/contestant.ts'
import {
  compete,
  device,
  gigabytes,
  isTiny,
  type Model,
  measureLimits,
  mixtral707m,
  olmoe,
  percent,
  pythonWithTransformers,
  tera,
  trainingFlops,
} from './support/cuda.ts'
import { report } from './support/report.ts'

interface Case {
  model: Model
  batch: number
  length: number
  ours: [name: string, options: object][]
  peers: [name: string, experts: string, compiled: boolean][]
  /** tokens/s */
  aim: number
}

const half = { kind: 'half', router: 'half' }
const cases: Case[] = [
  {
    model: mixtral707m,
    batch: isTiny ? 2 : 16,
    length: isTiny ? 16 : 1024,
    aim: 300_000,
    ours: [
      ['bf16 weights and moments', { precision: { ...half, master: false, moments: 'bf16' } }],
      ['the same, as a graph', { precision: { ...half, master: false, moments: 'bf16' }, graph: true }],
      ['f32 masters, moments and router', { precision: { kind: 'half' } }],
      ['autocast', { precision: { kind: 'autocast' } }],
    ],
    peers: [
      ['transformers, eager', 'eager', false],
      ['transformers, grouped_mm', 'grouped_mm', false],
      ['transformers, grouped_mm, compiled', 'grouped_mm', true],
    ],
  },
  {
    model: olmoe,
    batch: isTiny ? 1 : 4,
    length: isTiny ? 16 : 2048,
    aim: 23_600, // what the paper reports for each H100 of many (arXiv:2409.02060)
    ours: [
      ['bf16 weights and moments', { precision: { ...half, master: false, moments: 'bf16' } }],
      [
        'the same, recomputing layers',
        { precision: { ...half, master: false, moments: 'bf16' }, recompute: true },
      ],
    ],
    peers: [['transformers, grouped_mm', 'grouped_mm', false]],
  },
]

const python = pythonWithTransformers()
if (!python) console.log('cuda-step: no Python with torch and transformers (set PYTHON); peers left out')
const limits = await measureLimits()
const rows = [['model', 'who', 'tokens/s', 'ms', 'TFLOP/s', 'of the limit', 'memory, GB']]
const notes = [`products: ${tera(limits.flops)} TFLOP/s in this run, copies: ${tera(limits.bytes)} TB/s`]
const data: Record<string, unknown> = { limits }
const wanted = process.env.BENCH_MODELS?.split(',')

for (const { model, batch, length, ours, peers, aim } of cases) {
  if (wanted && !wanted.includes(model.kind)) continue
  const fields = { kind: model.kind, fields: model.fields, batch, length }
  // One process at a time holds a large model.
  const contestants = [
    ...ours.map(
      ([name, options]) =>
        () =>
          Contestant.ours(name, 'cuda-step.ts', [JSON.stringify({ ...fields, ...options })]),
    ),
    ...peers.map(
      ([name, experts, compiled]) =>
        () =>
          Contestant.peer(name, python ?? 'python3', 'hf_step.py', [
            ...[device, model.kind, JSON.stringify(model.fields), String(batch), String(length)],
            ...[experts, String(compiled)],
          ]),
    ),
  ].slice(0, python ? undefined : ours.length)
  const together = model === olmoe ? contestants.map(make => [make]) : [contestants]
  const finished: Contestant[] = []
  for (const group of together) {
    const racing = group.map(make => make())
    finished.push(
      ...(await compete(racing, { rounds: isTiny ? 2 : 5, count: isTiny ? 1 : 10, warmup: isTiny ? 1 : 5 })),
    )
  }
  const tokens = batch * length
  const flops = trainingFlops(model.fields, length) * tokens
  for (const contestant of finished) {
    const { median, name, rounds } = contestant
    rows.push([
      contestant === finished[0] ? model.name : '',
      name,
      (tokens / median).toFixed(0),
      (median * 1e3).toFixed(1),
      tera(flops / median),
      percent(flops / median / limits.flops),
      gigabytes(Math.max(...rounds.map(round => round.devicePeak ?? 0))),
    ])
  }
  const fastest = (of: readonly Contestant[]): number => Math.max(...of.map(({ median }) => tokens / median))
  const mine = finished.filter(({ name }) => !name.startsWith('transformers'))
  const theirs = finished.filter(({ name }) => name.startsWith('transformers'))
  notes.push(
    `${model.name}: ${fastest(mine).toFixed(0)} tokens/s (aim: ${aim}; floor: ${((tokens * limits.flops) / flops).toFixed(0)})` +
      (theirs.length > 0
        ? `, ${(fastest(mine) / fastest(theirs)).toFixed(2)} times the best of transformers`
        : ''),
  )
  data[model.name] = Object.fromEntries(finished.map(({ name, rounds }) => [name, rounds]))
}

report({ name: 'cuda-step', setting: { cases, device }, rows, notes, data })
