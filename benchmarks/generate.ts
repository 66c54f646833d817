// Generation on the CPU, from f32 and from the blocks of a GGUF file: a prompt of 2,048 tokens read with a cache, and tokens written after a short one, against plain
// PyTorch with a cache that grows by `cat`. The limit of reading is the best product library's rate, that of writing how
// fast the weights that a token passes are read.

import type { Sizes } from './contestants/mixtral.ts'
import { Contestant, pythonWithTorch, race } from './support/contestant.ts'
import { report } from './support/report.ts'

const sizes: Sizes = {
  ...{ vocab: 8192, hidden: 512, layers: 8, heads: 8, ff: 1024, experts: 8, topK: 2 },
  ...{ batch: 1, length: 4096 },
}
const tasks = [
  { task: 'prefill', prompt: 2048, count: 1, rounds: 5, unit: 2048 },
  { task: 'decode', prompt: 64, count: 32, rounds: 7, unit: 1 },
]
const setting = JSON.stringify(sizes)
const python = pythonWithTorch()
const rows = [['task', 'who', 'tokens/s', 'memory beyond the weights']]
const notes: string[] = []
const data: Record<string, unknown> = {}

for (const { task, prompt, count, rounds, unit } of tasks) {
  const [ours, ...stored] = [undefined, 'q8_0', 'q4_0', 'q4_k'].map(type => {
    const args = [setting, task, String(prompt), ...(type ? [type] : [])]
    return Contestant.ours(`switchyard${type ? `, ${type}` : ''}`, 'generate.ts', args)
  }) as [Contestant, ...Contestant[]]
  const peers = ['1', '2'].flatMap(threads =>
    python
      ? Contestant.peer(`PyTorch, ${threads} threads`, python, 'generate.py', [
          threads,
          setting,
          task,
          String(prompt),
        ])
      : [],
  )
  const all = [ours, ...stored, ...peers]
  await race(all, { rounds, count })
  for (const who of all) {
    const megabytes = `${(who.growth / 1e6).toFixed(0)} MB`
    rows.push([who === ours ? task : '', who.name, (unit / who.median).toFixed(0), megabytes])
    who.close()
  }
  const best = Math.min(...peers.map(peer => peer.median))
  if (python)
    notes.push(`${task}, speed over the best PyTorch: ${(best / ours.median).toFixed(2)} (aim: at least 1.5)`)
  const [eight] = stored
  if (eight)
    notes.push(
      `${task}, speed of q8_0 over f32: ${(ours.median / eight.median).toFixed(2)} (aim: at least 1)`,
    )
  data[task] = Object.fromEntries(all.map(who => [who.name, who.rounds]))
}

report({ name: 'generate', setting: { ...sizes, tasks }, rows, notes, data })
