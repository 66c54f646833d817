// What a small operator call costs, against Python torch on the same libtorch: add of two 1x1 tensors, no gradients.

import { Contestant, pythonWithTorch, race } from './support/contestant.ts'
import { report } from './support/report.ts'

const calls = 200_000
const python = pythonWithTorch()
const scoped = Contestant.ours('switchyard, in tidy()', 'op-call.ts')
const collected = Contestant.ours('switchyard, garbage-collected', 'op-call-collected.ts')
const peer = python && Contestant.peer('Python torch', python, 'op_call.py')
if (!peer)
  console.log(
    'op-call: no Python with torch found (set PYTHON, or apt-get install python3-torch); peer left out',
  )

const all = [scoped, collected, ...(peer ? [peer] : [])]
await race(all, { rounds: 7, count: calls, warmup: calls })
const microseconds = (contestant: Contestant): string => `${(contestant.median * 1e6).toFixed(2)} us`

report({
  name: 'op-call',
  setting: { operator: 'aten::add.Tensor', shape: [1, 1], calls, rounds: 7, threads: 1 },
  rows: [['who', 'median per call'], ...all.map(contestant => [contestant.name, microseconds(contestant)])],
  notes: peer ? [`ratio to Python torch: ${(scoped.median / peer.median).toFixed(2)} (aim: at most 1)`] : [],
  data: Object.fromEntries(all.map(({ name, rounds }) => [name, rounds])),
})
for (const contestant of all) contestant.close()
