// A prompt and a text within a budget of memory, for benchmarks/budget.ts.
//   usage: budget.ts SETTING_JSON: { file, memory, prompt, written, kv }

import { readFileSync } from 'node:fs'
import { loadTiered } from '../../src/engine/index.ts'
import { Generation, openSource } from '../../src/models/index.ts'

const { file, memory, prompt: length, written, kv } = JSON.parse(process.argv[2] ?? '{}')
const source = openSource(file)
const { tiered } = loadTiered(source, { memory, context: length + written, kv })
const { store } = tiered
const prompt = Array.from({ length }, (_, i) => (31 * i + (i >> 5)) % source.config.vocab_size)
const options = { temperature: 0, stopIds: [], maxNewTokens: written, kv }
const ids: number[] = []
const generation = new Generation(tiered.model, [prompt], options)
ids.push(...generation.step().map(({ id }) => id))
const before = { ...store.counts.totals }
while (!generation.isOver) ids.push(...generation.step().map(({ id }) => id))
const { uses, hits } = store.counts.totals
const { promptSeconds, newTokens, newSeconds } = generation.timings
const peak = Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024
console.log(
  JSON.stringify({
    ...{ peak, promptSeconds, tokensPerSecond: newTokens / newSeconds, ids },
    ...{ resident: store.capacity, total: store.total },
    hitRate: (hits - before.hits) / (uses - before.uses),
  }),
)
