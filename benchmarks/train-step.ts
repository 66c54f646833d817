// Tokens per second and memory of a training step, against plain PyTorch on the same libtorch.

import { Contestant, pythonWithTorch, race } from './support/contestant.ts'

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
const json = JSON.stringify(sizes)
const python = pythonWithTorch()
const node = (file: string, args: string[], env: NodeJS.ProcessEnv = {}) =>
  new Contestant(
    `switchyard ${args.slice(0, 2).join('/')}${env.OMP_WAIT_POLICY ? ` ${env.OMP_WAIT_POLICY}` : ''}`,
    process.execPath,
    ['--import', 'tsx', `benchmarks/contestants/${file}.ts`, ...args],
    env,
  )

const ours = [node('train-step', ['1', '2', json]), node('train-step', ['2', '2', json])]
const peers = python
  ? [1, 2].map(
      t =>
        new Contestant(`PyTorch ${t}`, python, ['benchmarks/peers/train_step.py', String(t), json], {
          OMP_WAIT_POLICY: 'passive',
        }),
    )
  : []
const gemm = node('sgemm', [])
const all = [gemm, ...ours, ...peers]
await race([gemm], { rounds: 0, count: 100 })
for (const c of all.slice(1)) await (await c.ready()).round(2, { warmup: true })
for (let i = 0; i < 5; i++) {
  await gemm.round(50)
  for (const c of all.slice(1)) await c.round(3)
}
for (const c of all)
  console.log(
    c.name,
    c === gemm
      ? `${((2 * 1024 ** 3) / c.median / 1e9).toFixed(1)} GFLOP/s`
      : `${(2048 / c.median).toFixed(0)} tok/s  growth ${(c.growth / 1e6).toFixed(0)} MB peak ${(Math.max(...c.rounds.map(r => r.peak)) / 1e6).toFixed(0)} loss ${c.rounds.at(-1)?.loss}`,
  )
for (const c of all) c.close()
